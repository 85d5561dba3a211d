//! `oxikube node`: kubelet, container engine, service proxy, resolver and gateway of one node, in one process.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use cluster::balancer::Balancer;
use cluster::node::{NodeFiles, NodeSettings};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::runtime::watcher;
use tokio_util::sync::CancellationToken;

use crate::cli::DataDir;
use crate::compose::{self, Clients, Node, Roles};
use crate::identity::Identity;
use crate::instance::{Instance, Running, claim_name};
use crate::logging::LogArgs;
use crate::problem::{During, Problem};

/// Arguments of `node`.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

pub(crate) async fn run(args: NodeArgs, shutdown: CancellationToken) -> Result<(), Problem> {
    let instance = Instance::new(&args.data.data_dir);
    let files = NodeFiles::new(instance.root());
    let settings = files.settings().during("cannot tell what this node is")?.ok_or_else(|| {
        Problem::new(format!(
            "{} is not the directory of a node; make it one with 'oxikube join', or run a whole cluster with 'oxikube up'",
            instance.root().display()
        ))
    })?;
    let ownership = instance.own()?;
    let _name = claim_name(&settings.name)?;
    instance.keep_name(&settings.name)?;
    let address = match settings.address {
        Some(address) => address,
        None => compose::advertise_address()?,
    };
    let identity = Identity::open(&files, &settings).await?;
    let node = Node::open(&instance, &settings).await?;
    let kubelet = node.kubelet_config(&instance, address, compose::serving(&files, settings.bootstrap));
    // One identity for all: what a node's proxy, resolver and gateway have to read, nodes may read.
    let client = identity.client();
    let clients =
        Clients { kubelet: client.clone(), proxy: client.clone(), dns: client.clone(), gateway: client.clone() };
    let mut roles = Roles::new(shutdown);
    let stop = roles.stop();
    roles.run("identity", async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = identity.keep() => {}
        }
    });
    if !settings.servers.is_empty() {
        let listener = compose::bind(cluster::node::BALANCER, "another program's configuration").await?;
        let balancer = Balancer::new(settings.servers.clone());
        if settings.bootstrap {
            let following = follow_masters(client.clone(), balancer.clone(), files.clone(), settings.clone());
            let stop = roles.stop();
            roles.run("masters", async move { stop.run_until_cancelled(following).await.unwrap_or_default() });
        }
        roles.run("balancer", balancer.run(listener, roles.stop()));
    }
    node.run(&mut roles, &instance, kubelet, clients).await?;
    ownership.record(&Running {
        pid: std::process::id().cast_signed(),
        name: settings.name.clone(),
        api_port: 0,
        node: settings.node.clone(),
        started: jiff::Timestamp::now().as_second(),
    })?;
    roles.wait().await;
    node.engine.close().await;
    ownership.release()
}

/// Has the balancer know the masters that come and go, and the node, too, when it is started again.
async fn follow_masters(client: kube::Client, balancer: Arc<Balancer>, files: NodeFiles, mut settings: NodeSettings) {
    const PAUSE: Duration = Duration::from_secs(5);
    let maps = Api::<ConfigMap>::namespaced(client, "kube-system");
    let mut states = std::pin::pin!(watcher::watch_object(maps, cluster::node::CONFIG_MAP));
    while let Some(state) = states.next().await {
        let servers = match state {
            Ok(map) => cluster::node::servers(&map.and_then(|map| map.data).unwrap_or_default()),
            Err(error) => {
                tracing::debug!(%error, "watching the masters");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if servers.is_empty() || servers == settings.servers {
            continue;
        }
        tracing::info!(?servers, "these are the masters now");
        balancer.set(servers.clone());
        settings.servers = servers;
        if let Err(error) = files.save_settings(&settings) {
            tracing::warn!(%error, "the masters cannot be written down");
        }
    }
}
