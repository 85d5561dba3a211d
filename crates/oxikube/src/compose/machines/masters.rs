//! Several masters: on each of the first machines a member of etcd and a control plane.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use cluster::machines::Machine;

use super::process::{self, Part, Process};
use super::{Fleet, Record};
use crate::cli::{DataDir, ServerArgs};
use crate::compose::{Endpoint, config};
use crate::instance::Instance;
use crate::problem::{During, Problem};
use crate::store::EtcdArgs;

/// A number for `--control-planes`: etcd lives as long as more than half of its members do.
pub(crate) fn control_planes(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(number @ (1 | 3 | 5)) => Ok(number),
        _ => Err(format!("'{text}' masters are not possible; have 1, or 3 to survive the loss of one, or 5 of two")),
    }
}

/// How many nodes and masters there are to be; `before` is what there was, if there are machines, and `used` whether there was any server.
pub(super) fn counts(args: &ServerArgs, before: Option<&Record>, used: bool) -> Result<(u32, u32), Problem> {
    if let Some(before) = before {
        is_the_same(args, before)?;
    }
    let had = before.map(|record| (record.nodes, record.control_planes)).or(used.then_some((1, 1)));
    let masters = args.control_planes.or(had.map(|(_, masters)| masters)).unwrap_or(1);
    let nodes = args.nodes.or(had.map(|(nodes, _)| nodes)).unwrap_or(masters);
    let problem = match had {
        Some((_, had)) if had != masters => format!(
            "this cluster has --control-planes {had}; to have {masters}, choose another --data-dir, or take it down with 'oxikube down --purge' first"
        ),
        Some((had, _)) if had > nodes => {
            format!("this cluster has {had} machines; to have {nodes}, take it down with 'oxikube down --purge' first")
        }
        _ if masters > 1 && nodes < masters => {
            format!("every master is a node, too: with --control-planes {masters} have --nodes {masters} or more")
        }
        _ if masters > 1 && args.container_runtime_endpoint != Endpoint::Native => {
            "with --control-planes, all pods are on machines, which run the native engine only".to_owned()
        }
        _ => return Ok((nodes, masters)),
    };
    Err(Problem::new(problem))
}

/// Machines keep names and addresses: members of etcd know each other by them.
fn is_the_same(args: &ServerArgs, before: &Record) -> Result<(), Problem> {
    let (name, network) = (&before.instance, before.network);
    if *name != args.name {
        return Err(Problem::new(format!("the cluster of this data directory is called '{name}': say --name {name}")));
    }
    if network != args.node_network {
        return Err(Problem::new(format!("this cluster's machines are in {network}: say --node-network {network}")));
    }
    Ok(())
}

impl Fleet {
    /// Where the API servers of several masters are; empty when the server is the only one.
    pub(crate) fn servers(&self) -> &[SocketAddr] {
        &self.common.servers
    }

    fn master_machines(&self) -> impl Iterator<Item = &Machine> {
        self.machines.iter().take(self.masters)
    }

    /// Gives the masters their keys.
    pub(super) fn furnish_masters(&self, instance: &Instance) -> Result<(), Problem> {
        for machine in self.master_machines() {
            let (own, address) = (pki(machine), IpAddr::V4(machine.address));
            let furnished = cluster::master::furnish(&instance.path("pki"), &own, address);
            let pki = furnished.during(format!("cannot prepare the master {}", machine.name))?;
            // Through the host's balancer it is reached at the host's addresses, too.
            let reached_at = [address, self.gateway()];
            config::api_certificates(&pki, &machine.name, &reached_at, self.args.service_cluster_ip_range)?;
        }
        Ok(())
    }

    /// What runs on the masters.
    pub(super) fn master_processes(&self, own: &Path) -> Vec<Process> {
        let Some(etcd) = &self.etcd else { return Vec::new() };
        let members: Vec<(String, IpAddr)> =
            self.master_machines().map(|machine| (machine.name.clone(), machine.address.into())).collect();
        let processes = self.master_machines().flat_map(|machine| {
            let process = |part, program: &Path, arguments| Process {
                machine: machine.clone(),
                netns: Some(machine.netns()),
                part,
                program: program.to_owned(),
                arguments,
            };
            let data = Part::Etcd.directory(machine);
            let member =
                cluster::etcd::arguments(&machine.name, machine.address.into(), &data, &pki(machine), &members);
            let args = self.master_args(machine, &members);
            let mut master = process::command("server", &args.data.data_dir);
            master.extend(args.to_arguments().into_iter().filter(|argument| !argument.starts_with("--data-dir")));
            [process(Part::Etcd, etcd, member), process(Part::Master, own, master)]
        });
        processes.collect()
    }

    /// The command line of a master: it has its own member of etcd asked first.
    fn master_args(&self, machine: &Machine, members: &[(String, IpAddr)]) -> ServerArgs {
        let audit = |path: &PathBuf| PathBuf::from(format!("{}.{}", path.display(), machine.name));
        ServerArgs {
            data: DataDir { data_dir: Part::Master.directory(machine) },
            nodes: None,
            control_planes: None,
            without_node: true,
            hostname_override: Some(machine.name.clone()),
            node_ip: Some(machine.address.into()),
            audit_log_path: self.args.audit_log_path.as_ref().map(audit),
            etcd: EtcdArgs::of_members(
                &pki(machine),
                machine.address.into(),
                members.iter().map(|(_, address)| *address),
            ),
            ..self.args.clone()
        }
    }
}

fn pki(machine: &Machine) -> PathBuf {
    Part::Master.directory(machine).join("pki")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ServerArgs,
    }

    fn decide(line: &str, before: Option<(u32, u32)>, used: bool) -> Result<(u32, u32), String> {
        let words = ["server"].into_iter().chain(line.split_whitespace());
        let args = Line::try_parse_from(words).map_err(|e| e.to_string())?.args;
        let network = "10.245.0.0/24".parse().unwrap();
        let record = |(nodes, control_planes)| Record { instance: "oxikube".into(), network, nodes, control_planes };
        counts(&args, before.map(record).as_ref(), used).map_err(|problem| problem.0)
    }

    #[test]
    fn a_cluster_stays_as_it_is_and_may_get_more_nodes() {
        assert_eq!(decide("", None, false), Ok((1, 1)));
        assert_eq!(decide("--control-planes 3", None, false), Ok((3, 3)));
        assert_eq!(decide("--control-planes 3 --nodes 5", None, false), Ok((5, 3)));
        assert_eq!(decide("", Some((5, 3)), false), Ok((5, 3)));
        assert_eq!(decide("--nodes 6", Some((5, 3)), false), Ok((6, 3)));
        assert_eq!(decide("--nodes 3", None, true), Ok((3, 1)));
    }

    #[test]
    fn what_would_lose_members_or_data_is_refused() {
        for (line, before, used, words) in [
            ("--control-planes 2", None, false, "not possible"),
            ("--control-planes 3 --nodes 2", None, false, "--nodes 3"),
            ("--control-planes 3", None, true, "--control-planes 1"),
            ("--control-planes 1", Some((3, 3)), false, "--control-planes 3"),
            ("--nodes 3", Some((5, 3)), false, "5 machines"),
            ("--name other", Some((3, 3)), false, "--name oxikube"),
            ("--node-network 10.9.0.0/24", Some((3, 3)), false, "10.245.0.0/24"),
            ("--control-planes 3 --etcd-servers http://127.0.0.1:2379", None, false, "cannot be used with"),
        ] {
            let refused = decide(line, before, used).unwrap_err();
            assert!(refused.contains(words), "{line}: {refused}");
        }
    }
}
