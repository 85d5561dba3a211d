//! The other machines of `up --nodes N`: made, furnished and supervised by the server.
//!
//! A machine's process is no part of the server: it goes on when the server is killed, and the next server takes it up.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use cluster::machines::{Machine, Network};
use cluster::node::{NodeFiles, NodeSettings};
use cluster::pki::Pki;
use ipnet::{IpNet, Ipv4Net};
use kubelet::ServerTls;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::ServerArgs;
use crate::instance::{Instance, State};
use crate::problem::{During, Problem, file};

/// A process that ends is started anew, later each time; one that ran for long starts from the first again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
const LONG: Duration = Duration::from_secs(60);
/// A process that does not end by itself in this time is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The machines of an instance.
pub(crate) struct Fleet {
    network: Network,
    machines: Vec<Machine>,
    /// What the node of each is told; name, address and control group are its own.
    common: NodeSettings,
    server: String,
    /// How its processes log.
    log: [String; 2],
}

/// What is kept of a fleet, `DIR/nodes/machines.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    instance: String,
    network: Ipv4Net,
    /// Machines, the host counted.
    nodes: u32,
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

    fn machines(&self, instance: &Instance) -> Result<Vec<Machine>, Problem> {
        let network = Network::new(&self.instance, self.network);
        let made = (1..self.nodes).map(|number| network.machine(number, instance.root()));
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
    pub(crate) fn open(instance: &Instance, args: &ServerArgs) -> Result<Option<Self>, Problem> {
        let before = Record::read(instance)?;
        let nodes = args.nodes.or(before.as_ref().map(|record| record.nodes)).unwrap_or(1);
        if let Some(before) = before.filter(|before| before.nodes > nodes) {
            return Err(Problem::new(format!(
                "this cluster has {} machines; to have {nodes}, take it down with 'oxikube down --purge' first",
                before.nodes
            )));
        }
        if nodes < 2 {
            return Ok(None);
        }
        let record = Record { instance: args.name.clone(), network: args.node_network, nodes };
        let machines = record.machines(instance)?;
        let path = Record::path(instance);
        let written = fs::create_dir_all(instance.path("nodes"))
            .and_then(|()| fs::write(&path, serde_json::to_vec_pretty(&record).unwrap_or_default()));
        written.map_err(|e| file(&path, &e))?;
        let network = Network::new(&args.name, args.node_network);
        let server = format!("https://{}:{}", network.gateway(), args.api_port);
        let common = super::config::common_settings(args);
        let log = [format!("--logging-format={}", args.log.logging_format), format!("--v={}", args.log.verbosity)];
        Ok(Some(Self { network, machines, common, server, log }))
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
    pub(crate) fn furnish(&self, pki: &Pki) -> Result<(), Problem> {
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
        Ok(())
    }

    /// Keeps a process running on every machine until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut tasks = JoinSet::new();
        for machine in self.machines {
            tasks.spawn(supervise(machine, self.log.clone(), shutdown.clone()));
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a machine is without supervision");
            }
        }
    }
}

/// Control group above those of the machines.
fn cgroup(instance: &str) -> String {
    format!("{instance}.nodes")
}

/// Data directories of the machines of an instance.
pub(crate) fn roots(instance: &Instance) -> Result<Vec<PathBuf>, Problem> {
    let Some(record) = Record::read(instance)? else { return Ok(Vec::new()) };
    Ok(record.machines(instance)?.into_iter().map(|machine| machine.root).collect())
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

/// A command of this program on a machine.
fn on(machine: &Machine, command: &str) -> Result<Command, Problem> {
    let mut run = Command::new(std::env::current_exe().during("cannot find this program")?);
    run.arg("--netns").arg(machine.netns()).arg(command).arg("--data-dir").arg(&machine.root);
    run.stdin(Stdio::null());
    Ok(run)
}

/// Keeps the process of one machine running.
async fn supervise(machine: Machine, log: [String; 2], shutdown: CancellationToken) {
    let mut pause = PAUSE.0;
    loop {
        let since = Instant::now();
        match live(&machine, &log, &shutdown).await {
            Ok(()) if shutdown.is_cancelled() => return,
            Ok(()) => tracing::warn!(machine = machine.name, "its process ended and is started anew"),
            Err(problem) => tracing::error!(machine = machine.name, %problem, "its process cannot be kept running"),
        }
        pause = if since.elapsed() > LONG { PAUSE.0 } else { (pause * 2).min(PAUSE.1) };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One life of a machine's process: from its start, or from finding it alive, to its end.
async fn live(machine: &Machine, log: &[String; 2], shutdown: &CancellationToken) -> Result<(), Problem> {
    let failed = "cannot watch the process";
    if let State::Up(running) = Instance::new(&machine.root).state()? {
        let mut ended = std::pin::pin!(sys::process::ended(running.pid));
        tokio::select! {
            ended = ended.as_mut() => return ended.during(failed),
            () = shutdown.cancelled() => {}
        }
        ask_to_end(running.pid)?;
        if tokio::time::timeout(PATIENCE, ended).await.is_err() {
            sys::process::kill(running.pid, Signal::SIGKILL as i32).during("cannot kill the process")?;
        }
        return Ok(());
    }
    let mut child = start(machine, log)?;
    tokio::select! {
        ended = child.wait() => return ended.map(drop).during(failed),
        () = shutdown.cancelled() => {}
    }
    ask_to_end(child.id().map_or(0, u32::cast_signed))?;
    match tokio::time::timeout(PATIENCE, child.wait()).await {
        Ok(ended) => ended.map(drop).during(failed),
        Err(_) => child.kill().await.during("cannot kill the process"),
    }
}

fn ask_to_end(pid: i32) -> Result<(), Problem> {
    match kill(Pid::from_raw(pid), Signal::SIGTERM) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).during(format!("cannot stop process {pid}")),
    }
}

fn start(machine: &Machine, flags: &[String; 2]) -> Result<Child, Problem> {
    let logs = machine.root.join("logs");
    let path = logs.join("node.log");
    let opened = fs::create_dir_all(&logs).and_then(|()| fs::File::options().create(true).append(true).open(&path));
    let log = opened.map_err(|e| file(&path, &e))?;
    let errors = log.try_clone().map_err(|e| file(&path, &e))?;
    let mut command = on(machine, "node")?;
    command.args(flags).stdout(log).stderr(errors).process_group(0);
    command.spawn().during("cannot start the process")
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
        let output = on(machine, "down")?.output().await.during(&what)?;
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
