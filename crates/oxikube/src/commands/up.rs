//! `oxikube up`: starts the server in the background, waits for the node, applies manifests, waits for them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::time::Instant;

use crate::background;
use crate::cli::{ServerArgs, duration};
use crate::compose;
use crate::instance::{Instance, State};
use crate::manifests;
use crate::problem::{During, Problem};
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

impl UpArgs {
    /// No manifests.
    pub(crate) fn alone(server: ServerArgs, timeout: Duration) -> Self {
        Self { server, files: Vec::new(), timeout }
    }
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
                server = Some(background::start(&instance, "server", &args.server.to_arguments()).await?);
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
        problem = background::broken(server) => return Err(problem),
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
