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

/// How many nodes and masters there are to be.
pub(super) fn counts(args: &ServerArgs, before: Option<&Record>, instance: &Instance) -> Result<(u32, u32), Problem> {
    let used = std::fs::read_dir(instance.path("store")).is_ok_and(|mut files| files.next().is_some());
    let had = before.map(|record| (record.nodes, record.control_planes)).or(used.then_some((1, 1)));
    let masters = args.control_planes.or(had.map(|(_, masters)| masters)).unwrap_or(1);
    let nodes = args.nodes.or(had.map(|(nodes, _)| nodes)).unwrap_or(masters);
    if let Some((had_nodes, had_masters)) = had {
        if had_masters != masters {
            return Err(Problem::new(format!(
                "this cluster has --control-planes {had_masters}; to have {masters}, choose another --data-dir, or take it down with 'oxikube down --purge' first"
            )));
        }
        if had_nodes > nodes {
            return Err(Problem::new(format!(
                "this cluster has {had_nodes} machines; to have {nodes}, take it down with 'oxikube down --purge' first"
            )));
        }
    }
    if masters > 1 && nodes < masters {
        return Err(Problem::new(format!(
            "every master is a node, too: with --control-planes {masters} have --nodes {masters} or more"
        )));
    }
    if masters > 1 && args.container_runtime_endpoint != Endpoint::Native {
        return Err(Problem::new("with --control-planes, all pods are on machines, which run the native engine only"));
    }
    Ok((nodes, masters))
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
    pub(super) fn master_processes(&self, own: &Path) -> Result<Vec<Process>, Problem> {
        if self.masters == 0 {
            return Ok(Vec::new());
        }
        let etcd = etcd()?;
        let members: Vec<(String, IpAddr)> =
            self.master_machines().map(|machine| (machine.name.clone(), machine.address.into())).collect();
        let processes = self.master_machines().flat_map(|machine| {
            let process = |part, program: &Path, arguments| Process {
                machine: machine.clone(),
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
            [process(Part::Etcd, &etcd, member), process(Part::Master, own, master)]
        });
        Ok(processes.collect())
    }

    /// The command line of a master: it has its own member of etcd asked first.
    fn master_args(&self, machine: &Machine, members: &[(String, IpAddr)]) -> ServerArgs {
        let mut addresses: Vec<IpAddr> = members.iter().map(|(_, address)| *address).collect();
        addresses.sort_by_key(|address| *address != IpAddr::V4(machine.address));
        let key = |name: &str| Some(pki(machine).join(name));
        let audit = |path: &PathBuf| PathBuf::from(format!("{}.{}", path.display(), machine.name));
        ServerArgs {
            data: DataDir { data_dir: Part::Master.directory(machine) },
            nodes: None,
            control_planes: None,
            without_node: true,
            hostname_override: Some(machine.name.clone()),
            node_ip: Some(machine.address.into()),
            audit_log_path: self.args.audit_log_path.as_ref().map(audit),
            etcd: EtcdArgs {
                etcd_servers: addresses.into_iter().map(cluster::etcd::client_url).collect(),
                etcd_cafile: key("etcd/ca.crt"),
                etcd_certfile: key("apiserver-etcd-client.crt"),
                etcd_keyfile: key("apiserver-etcd-client.key"),
                etcd_prefix: "/registry".into(),
            },
            ..self.args.clone()
        }
    }
}

fn pki(machine: &Machine) -> PathBuf {
    Part::Master.directory(machine).join("pki")
}

/// The program, which comes from elsewhere.
fn etcd() -> Result<PathBuf, Problem> {
    process::find("etcd").ok_or_else(|| {
        Problem::new(
            "several masters keep their state in etcd, which is not installed; on Debian: apt install etcd-server",
        )
    })
}
