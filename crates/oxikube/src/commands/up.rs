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
                server = Some(background::start(&instance, "server", &server_arguments(&args.server)).await?);
                progress.done("server started");
            }
        }
        Ok::<_, Problem>(())
    };
    starting.await?;
    let wait = async {
        let client = connect(&instance).await?;
        let wanted = 1 + compose::machine_roots(&instance)?.len();
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

fn server_arguments(args: &ServerArgs) -> Vec<String> {
    let mut list = vec![
        format!("--data-dir={}", args.data.data_dir.display()),
        format!("--api-port={}", args.api_port),
        format!("--name={}", args.name),
        format!("--cluster-cidr={}", args.cluster_cidr),
        format!("--service-cluster-ip-range={}", args.service_cluster_ip_range),
        format!("--cluster-dns={}", args.cluster_dns),
        format!("--kubelet-port={}", args.kubelet_port),
        format!("--logging-format={}", args.log.logging_format),
        format!("--v={}", args.log.verbosity),
    ];
    list.push(format!("--node-monitor-grace-period={}ms", args.node_monitor_grace_period.as_millis()));
    list.push(format!("--default-not-ready-toleration-seconds={}", args.default_not_ready_toleration_seconds));
    list.push(format!("--default-unreachable-toleration-seconds={}", args.default_unreachable_toleration_seconds));
    list.push(format!("--node-network={}", args.node_network));
    list.extend(args.nodes.map(|n| format!("--nodes={n}")));
    list.extend(args.node_ip.map(|ip| format!("--node-ip={ip}")));
    list.extend(args.audit_log_path.as_ref().map(|p| format!("--audit-log-path={}", p.display())));
    list.push(format!("--container-runtime-endpoint={}", args.container_runtime_endpoint));
    list.extend(args.etcd.to_arguments());
    list.extend(args.hostname_override.as_ref().map(|n| format!("--hostname-override={n}")));
    list
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
