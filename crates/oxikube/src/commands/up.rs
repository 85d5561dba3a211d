//! `oxikube up`: starts the server in the background, waits for the node, applies manifests, waits for them.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Args;
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::time::Instant;

use crate::cli::{ServerArgs, duration};
use crate::compose;
use crate::instance::{Instance, State};
use crate::logging;
use crate::manifests;
use crate::problem::{During, Problem, file};
use crate::progress::Progress;

/// Arguments of `up`.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Manifests to apply: files or folders of YAML or JSON
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    /// How long to wait for everything
    #[arg(long, default_value = "120s", value_parser = duration)]
    timeout: Duration,
}

pub(crate) async fn run(args: UpArgs) -> Result<(), Problem> {
    let deadline = Instant::now() + args.timeout;
    let objects = manifests::read(&args.files)?;
    let instance = Instance::new(&args.server.data.data_dir);
    let mut progress = Progress::new();
    let mut server = None;
    let starting = async {
        match instance.state()? {
            State::Up(running) => progress.done(&format!("server runs already (process {})", running.pid)),
            State::Crashed(_) | State::Stopped => {
                progress.start("starting the server");
                server = Some(start(&args.server, &instance).await?);
                progress.done("server started");
            }
        }
        Ok::<_, Problem>(())
    };
    starting.await?;
    let wait = async {
        let client = connect(&instance).await?;
        let wanted = compose::node_directories(&instance)?.len();
        progress.start(if wanted == 1 { "waiting for the node" } else { "waiting for the nodes" });
        let nodes = ready_nodes(&client, wanted, &mut progress).await?;
        progress.done(&match nodes.as_slice() {
            [node] => format!("node {node} is ready"),
            nodes => format!("nodes {} are ready", nodes.join(", ")),
        });
        if !objects.is_empty() {
            manifests::apply(&client, &objects, &mut progress).await?;
            manifests::wait(&client, &objects, &mut progress).await?;
        }
        Ok(())
    };
    let waited = tokio::select! {
        waited = tokio::time::timeout_at(deadline, wait) => waited,
        problem = broken(server, &instance) => return Err(problem),
    };
    match waited {
        Ok(result) => result?,
        Err(_) => {
            return Err(Problem::new(format!(
                "not everything was ready within {} s ({}); see 'oxikube status' and {}",
                args.timeout.as_secs(),
                progress.current(),
                instance.path("logs/server.log").display()
            )));
        }
    }
    println!("export KUBECONFIG={}", instance.kubeconfig().display());
    Ok(())
}

/// A server that this command started.
struct Started {
    child: Child,
    log_before: u64,
}

/// Says when a server that was just started ends; never, for one that ran before.
async fn broken(server: Option<Started>, instance: &Instance) -> Problem {
    let Some(mut server) = server else { return std::future::pending().await };
    loop {
        match server.child.try_wait() {
            Ok(Some(status)) => return ended(&instance.path("logs/server.log"), server.log_before, status),
            Ok(None) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => return Problem::new(format!("cannot watch the server: {error}")),
        }
    }
}

/// Starts `oxikube server` apart from this process and waits until its API answers.
async fn start(args: &ServerArgs, instance: &Instance) -> Result<Started, Problem> {
    // Folders first: the log goes into one of them. What a server that crashed says of itself is not to be taken for the new one's.
    instance.own()?.release()?;
    let log_path = instance.path("logs/server.log");
    let log = logging::open(&log_path)?;
    let errors = log.try_clone().map_err(|e| file(&log_path, &e))?;
    let before = std::fs::metadata(&log_path).map_or(0, |m| m.len());
    let binary = std::env::current_exe().during("cannot find this program")?;
    let mut command = Command::new(binary);
    command.arg("server").args(args.to_arguments());
    command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
    let mut child = command.spawn().during("cannot start the server")?;
    loop {
        if let Some(status) = child.try_wait().during("cannot watch the server")? {
            return Err(ended(&log_path, before, status));
        }
        if matches!(instance.state()?, State::Up(_)) {
            return Ok(Started { child, log_before: before });
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The server's own last words, if it left any.
fn ended(log: &Path, before: u64, status: std::process::ExitStatus) -> Problem {
    let text = std::fs::read(log).unwrap_or_default();
    let tail = text.get(usize::try_from(before).unwrap_or(0)..).unwrap_or_default();
    let tail = String::from_utf8_lossy(tail);
    match tail.lines().rev().find_map(|l| l.strip_prefix("oxikube: ")) {
        Some(sentence) => Problem::new(sentence),
        None if is_full(log) => file(log, &std::io::ErrorKind::StorageFull.into()),
        None => Problem::new(format!("the server ended at once ({status}); see {}", log.display())),
    }
}

/// Whether there is no room left beside a file, so that a server could not even say so.
fn is_full(file: &Path) -> bool {
    const A_SENTENCE: u64 = 64 << 10;
    nix::sys::statvfs::statvfs(file).is_ok_and(|disk| disk.blocks_available() * disk.fragment_size() < A_SENTENCE)
}

async fn connect(instance: &Instance) -> Result<kube::Client, Problem> {
    let path = instance.kubeconfig();
    client::connect::from_kubeconfig(&path).await.during(format!("cannot use {}", path.display()))
}

/// The names of nodes that are ready, once there are so many; waits for them by a watch.
async fn ready_nodes(client: &kube::Client, wanted: usize, progress: &mut Progress) -> Result<Vec<String>, Problem> {
    let nodes = watcher(Api::<Node>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .applied_objects()
        .try_filter(|node| futures::future::ready(is_ready(node)));
    let mut nodes = std::pin::pin!(nodes);
    let mut ready = BTreeSet::new();
    loop {
        match nodes.try_next().await {
            Ok(Some(node)) => ready.extend(node.metadata.name),
            Ok(None) => return Err(Problem::new("the watch of nodes ended")),
            Err(error) => tracing::debug!(%error, "watching nodes"),
        }
        if ready.len() >= wanted {
            return Ok(ready.into_iter().collect());
        }
        progress.start(&format!("{} of {wanted} nodes are ready", ready.len()));
    }
}

/// Whether a node's Ready condition is true.
pub(crate) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions.is_some_and(|c| c.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}
