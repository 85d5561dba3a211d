//! The machines of `up --nodes N` and `up --control-planes N`: made, furnished and supervised by the server.
//!
//! A machine's processes are no part of the server: they go on when the server is killed, and the next server takes them up.
//! With one master the server is it, and the host has a node; with several the machines have all of the cluster.

pub(super) mod etcd;
mod masters;
pub(super) mod process;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use cluster::machines::{Machine, Network};
use cluster::node::{NodeFiles, NodeSettings};
use cluster::pki::Pki;
use ipnet::{IpNet, Ipv4Net};
use kubelet::ServerTls;
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::ServerArgs;
use crate::instance::{self, Instance};
use crate::problem::{During, Problem, file};
use process::{Part, Process};

pub(crate) use masters::control_planes;

/// The machines of an instance.
pub(crate) struct Fleet {
    network: Network,
    machines: Vec<Machine>,
    /// What the node of each is told; name, address and control group are its own.
    common: NodeSettings,
    server: String,
    /// How many of the machines are masters, the first ones; none when the server is the only one.
    masters: usize,
    /// The program of their store; where there are none it is not needed.
    etcd: Option<PathBuf>,
    args: ServerArgs,
}

/// What is kept of a fleet, `DIR/nodes/machines.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    instance: String,
    network: Ipv4Net,
    /// Nodes, the host's counted where it has one.
    nodes: u32,
    /// Masters; when it is one, it is the host.
    #[serde(default = "one")]
    control_planes: u32,
}

fn one() -> u32 {
    1
}

impl Record {
    fn path(instance: &Instance) -> PathBuf {
        instance.path("nodes/machines.json")
    }

    fn read(instance: &Instance) -> Result<Option<Self>, Problem> {
        let path = Self::path(instance);
        match fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(file(&path, &e)),
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map(Some).during(format!("cannot understand {}", path.display()))
            }
        }
    }

    /// How many of the machines are masters, the first ones; none when the host is the only one.
    fn masters(&self) -> usize {
        if self.control_planes > 1 { self.control_planes as usize } else { 0 }
    }

    fn machines(&self, instance: &Instance) -> Result<Vec<Machine>, Problem> {
        let network = Network::new(&self.instance, self.network);
        let last = if self.masters() > 0 { self.nodes } else { self.nodes.saturating_sub(1) };
        let made = (1..=last).map(|number| network.machine(number, instance.root()));
        made.collect::<Option<_>>().ok_or_else(|| {
            Problem::new(format!(
                "{} has no room for {} machines; choose another --node-network",
                self.network, self.nodes
            ))
        })
    }
}

impl Fleet {
    /// What the command line asks for, or else what there was; none for a cluster of one machine.
    pub(crate) async fn open(instance: &Instance, args: &ServerArgs) -> Result<Option<Self>, Problem> {
        if args.without_node {
            return Ok(None);
        }
        let before = Record::read(instance)?;
        let used = fs::read_dir(instance.path("store")).is_ok_and(|mut files| files.next().is_some());
        let (nodes, control_planes) = masters::counts(args, before.as_ref(), used)?;
        if nodes < 2 {
            return Ok(None);
        }
        let record = Record { instance: args.name.clone(), network: args.node_network, nodes, control_planes };
        let machines = record.machines(instance)?;
        let etcd = if record.masters() > 0 { Some(etcd::program().await?) } else { None };
        if before.as_ref() != Some(&record) {
            let path = Record::path(instance);
            fs::create_dir_all(instance.path("nodes")).map_err(|e| file(&path, &e))?;
            instance::replace(&path, &serde_json::to_string_pretty(&record).unwrap_or_default())?;
        }
        let network = Network::new(&args.name, args.node_network);
        let masters = record.masters();
        let servers = machines.iter().take(masters).map(|m| SocketAddr::new(m.address.into(), args.api_port)).collect();
        let server = match masters {
            0 => format!("https://{}:{}", network.gateway(), args.api_port),
            _ => format!("https://{}", cluster::node::BALANCER),
        };
        let common = NodeSettings { servers, ..super::config::common_settings(args) };
        Ok(Some(Self { network, machines, common, server, masters, etcd, args: args.clone() }))
    }

    /// The host's address among the machines.
    pub(crate) fn gateway(&self) -> IpAddr {
        self.network.gateway().into()
    }

    /// Makes network and namespaces.
    pub(crate) async fn make(&self) -> Result<(), Problem> {
        self.network.make().await.during("cannot make the network of the machines")?;
        for machine in &self.machines {
            machine.make(&self.network).await.during(format!("cannot make the machine {}", machine.name))?;
        }
        Ok(())
    }

    /// Gives each machine its keys, and says what its node is.
    pub(crate) fn furnish(&self, instance: &Instance, pki: &Pki) -> Result<(), Problem> {
        for machine in &self.machines {
            let settings = NodeSettings {
                node: machine.name.clone(),
                address: Some(machine.address.into()),
                cgroup: Some(format!("{}/{}", cgroup(&self.common.name), machine.name)),
                ..self.common.clone()
            };
            let furnished = NodeFiles::new(&machine.root).furnish(&settings, pki, &self.server);
            furnished.during(format!("cannot prepare the machine {}", machine.name))?;
        }
        self.furnish_masters(instance)
    }

    /// Keeps the processes of every machine running until `shutdown`, then stops them: nodes first, etcd last.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut stages = Vec::new();
        let processes = match self.processes() {
            Ok(processes) => processes,
            Err(problem) => return tracing::error!(%problem, "the machines cannot be started"),
        };
        for part in Part::ALL {
            let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
            for process in processes.iter().filter(|process| process.part == part) {
                tasks.spawn(process.clone().supervise(stop.clone()));
            }
            stages.push((stop, tasks));
        }
        shutdown.cancelled().await;
        while let Some((stop, mut tasks)) = stages.pop() {
            stop.cancel();
            while let Some(ended) = tasks.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(%error, "a machine was without supervision");
                }
            }
        }
    }

    fn processes(&self) -> Result<Vec<Process>, Problem> {
        let own = std::env::current_exe().during("cannot find this program")?;
        let log = &self.args.log;
        let log = [format!("--logging-format={}", log.logging_format), format!("--v={}", log.verbosity)];
        let mut list = self.master_processes(&own);
        list.extend(self.machines.iter().map(|machine| {
            let mut arguments = process::command("node", &Part::Node.directory(machine));
            arguments.extend(log.clone());
            let netns = Some(machine.netns());
            Process { machine: machine.clone(), netns, part: Part::Node, program: own.clone(), arguments }
        }));
        Ok(list)
    }
}

/// Control group above those of the machines.
fn cgroup(instance: &str) -> String {
    format!("{instance}.nodes")
}

/// Data directories of all nodes of an instance.
pub(crate) fn nodes(instance: &Instance) -> Result<Vec<PathBuf>, Problem> {
    let Some(record) = Record::read(instance)? else { return Ok(vec![instance.root().to_owned()]) };
    let host = (record.masters() == 0).then(|| instance.root().to_owned());
    let machines = record.machines(instance)?.into_iter().map(|machine| machine.root);
    Ok(host.into_iter().chain(machines).collect())
}

/// A machine with several masters or nodes beside it, as it is now.
#[derive(Debug)]
pub(crate) struct SeenMachine {
    pub(crate) machine: Machine,
    pub(crate) is_master: bool,
    /// What is to run on it, and the process that does.
    pub(crate) parts: Vec<(&'static str, Option<i32>)>,
}

/// Looks at the machines of an instance.
pub(crate) fn seen(instance: &Instance) -> Result<Vec<SeenMachine>, Problem> {
    let Some(record) = Record::read(instance)? else { return Ok(Vec::new()) };
    let masters = record.masters();
    let look = |(number, machine): (usize, Machine)| {
        let is_master = number < masters;
        let parts = Part::ALL.into_iter().filter(|part| is_master || *part == Part::Node);
        let parts = parts.map(|part| Ok((part.name(), part.running(&machine)?))).collect::<Result<_, Problem>>()?;
        Ok(SeenMachine { machine, is_master, parts })
    };
    record.machines(instance)?.into_iter().enumerate().map(look).collect()
}

/// The files of a kubelet's serving certificate.
pub(crate) fn serving(files: &NodeFiles, bootstrap: bool) -> ServerTls {
    ServerTls {
        cert_file: files.serving_certificate(),
        key_file: files.serving_key(),
        client_ca_file: Some(files.ca()),
        bootstrap,
    }
}

/// Takes every machine away: its process, its containers, its namespace, and at last their network.
pub(crate) async fn teardown(instance: &Instance) -> Result<(), Problem> {
    let Some(record) = Record::read(instance)? else { return Ok(()) };
    let network = Network::new(&record.instance, record.network);
    let machines = record.machines(instance)?;
    // A restart of the host took the namespaces, but what is to be taken down is taken down inside of them.
    network.make().await.during("cannot reach the network of the machines")?;
    let mut tasks = JoinSet::new();
    for machine in machines {
        let network = network.clone();
        tasks.spawn(async move { take_down(&machine, &network).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.during("cannot take a machine down")??;
    }
    network.remove().await.during("cannot remove the network of the machines")?;
    let cgroups = sys::cgroup::Cgroups::detect().during("cannot look at control groups")?;
    cgroups.remove(&cgroup(&record.instance)).during("cannot remove the machines' control groups")
}

async fn take_down(machine: &Machine, network: &Network) -> Result<(), Problem> {
    let what = format!("cannot take the machine {} down", machine.name);
    if Path::new(&machine.root).exists() {
        machine.make(network).await.during(&what)?;
        for part in [Part::Master, Part::Etcd] {
            if let Some(pid) = part.running(machine)? {
                part.end(pid).await?;
            }
        }
        let mut down = Command::new(std::env::current_exe().during("cannot find this program")?);
        down.arg("--netns").arg(machine.netns()).args(process::command("down", &machine.root)).stdin(Stdio::null());
        let output = down.output().await.during(&what)?;
        if !output.status.success() {
            return Err(Problem::new(format!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim())));
        }
    }
    machine.remove().await.during(&what)
}

/// A range for `--node-network`.
pub(crate) fn network(text: &str) -> Result<Ipv4Net, String> {
    match text.parse::<IpNet>() {
        Ok(IpNet::V4(range)) if range.prefix_len() <= 28 => Ok(range.trunc()),
        _ => Err(format!("'{text}' is no range of IPv4 addresses with room for machines; try 10.245.0.0/24")),
    }
}
