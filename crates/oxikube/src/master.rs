//! What a machine is told that is one of several masters, each on a machine of its own with a member of etcd.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Parser;
use serde::{Deserialize, Serialize};

use crate::cli::ServerArgs;
use crate::compose::Endpoint;
use crate::instance::{self, Instance};
use crate::problem::{During, Problem, file};
use crate::store::EtcdArgs;

/// What a master is told. The file is `DIR/master.json`; where it is, it says how the server is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Master {
    /// Name of the node and of the member of etcd.
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    /// Names and addresses of all masters as far as is known, this one among them; none while it is on its way in.
    pub(crate) members: Vec<(String, IpAddr)>,
    /// It came to a cluster that was there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) joined: bool,
    /// Its member has a vote.
    pub(crate) votes: bool,
    /// Control group of everything on the node, where it is not called as the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cgroup: Option<String>,
    /// Flags of its server, as far as they are the same on every master.
    pub(crate) flags: Vec<String>,
    pub(crate) kubelet_port: u16,
}

/// Flags that are a machine's own.
const OWN: [&str; 5] = ["--data-dir=", "--kubelet-port=", "--logging-format=", "--v=", "--container-runtime-endpoint="];

/// The flags that are the same on every master.
pub(crate) fn flags(args: &ServerArgs) -> Vec<String> {
    let common = ServerArgs {
        nodes: None,
        control_planes: None,
        without_node: false,
        hostname_override: None,
        node_ip: None,
        audit_log_path: None,
        scheduler_config: None,
        container_runtime_endpoint: Endpoint::Native,
        etcd: EtcdArgs::default(),
        ..args.clone()
    };
    let is_own = |flag: &String| OWN.iter().any(|own| flag.starts_with(own));
    common.to_arguments().into_iter().filter(|flag| !is_own(flag)).collect()
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: ServerArgs,
}

/// Reads the flags of a master.
pub(crate) fn parse(flags: &[String]) -> Result<ServerArgs, Problem> {
    let words = ["server".to_owned()].into_iter().chain(flags.iter().cloned());
    let understood = Line::try_parse_from(words).map(|line| line.args);
    understood.during("the masters of this cluster are of another version, whose flags are not understood")
}

impl Master {
    fn path(instance: &Instance) -> PathBuf {
        instance.path("master.json")
    }

    /// What this machine is told; none where it is no such master.
    pub(crate) fn read(instance: &Instance) -> Result<Option<Self>, Problem> {
        let path = Self::path(instance);
        match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(file(&path, &e)),
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map(Some).during(format!("cannot understand {}", path.display()))
            }
        }
    }

    pub(crate) fn save(&self, instance: &Instance) -> Result<(), Problem> {
        instance::replace(&Self::path(instance), &serde_json::to_string_pretty(self).unwrap_or_default())
    }

    /// Whether its member has run, so that there is no way back.
    pub(crate) fn has_begun(instance: &Instance) -> bool {
        instance.path("etcd/member").exists()
    }

    /// The command line of its server; of the one that was given, what is this process's own remains.
    pub(crate) fn args(&self, given: &ServerArgs, instance: &Instance) -> Result<ServerArgs, Problem> {
        Ok(ServerArgs {
            data: given.data.clone(),
            log: given.log.clone(),
            audit_log_path: given.audit_log_path.clone(),
            scheduler_config: given.scheduler_config.clone(),
            container_runtime_endpoint: given.container_runtime_endpoint.clone(),
            hostname_override: Some(self.name.clone()),
            node_ip: Some(self.address),
            kubelet_port: self.kubelet_port,
            etcd: self.store(instance),
            ..parse(&self.flags)?
        })
    }

    /// The store that the masters share: its own member is asked first.
    pub(crate) fn store(&self, instance: &Instance) -> EtcdArgs {
        EtcdArgs::of_members(&instance.path("pki"), self.address, self.members.iter().map(|(_, address)| *address))
    }

    /// The other masters.
    pub(crate) fn without_itself(&self) -> Vec<(String, IpAddr)> {
        self.members.iter().filter(|(_, address)| *address != self.address).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masters_have_the_same_flags_and_each_its_own_machine() {
        let line = ["server", "--data-dir=/one", "--api-port=7000", "--node-ip=192.0.2.1", "--name=n", "--v=3"];
        let first = Line::try_parse_from(line).unwrap().args;
        let told = flags(&first);
        assert!(told.contains(&"--api-port=7000".to_owned()) && !told.iter().any(|flag| flag.contains("192.0.2.1")));
        let address = "192.0.2.2".parse().unwrap();
        let master = Master {
            name: "m2".into(),
            address,
            members: vec![("m1".into(), "192.0.2.1".parse().unwrap()), ("m2".into(), address)],
            joined: true,
            votes: true,
            cgroup: None,
            flags: told,
            kubelet_port: 10251,
        };
        let given = Line::try_parse_from(["server", "--data-dir=/two"]).unwrap().args;
        let args = master.args(&given, &Instance::new(&given.data.data_dir)).unwrap();
        assert_eq!((args.api_port, args.kubelet_port, args.name.as_str()), (7000, 10251, "n"));
        assert_eq!((args.data.data_dir, args.node_ip), ("/two".into(), Some(address)));
        assert_eq!(args.etcd.etcd_servers, ["https://192.0.2.2:2379", "https://192.0.2.1:2379"]);
        assert_eq!(args.etcd.etcd_cafile, Some("/two/pki/etcd/ca.crt".into()));
        assert_eq!(master.without_itself(), master.members[..1]);
    }
}
