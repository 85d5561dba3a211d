//! `oxikube cri`: the native engine for others, on a CRI socket.

use std::path::PathBuf;

use clap::Args;
use cluster::node::NodeSettings;
use tokio_util::sync::CancellationToken;

use crate::cli::DataDir;
use crate::compose::{Endpoint, Node};
use crate::instance::Instance;
use crate::logging::LogArgs;
use crate::problem::{During, Problem};

/// Arguments of `cri`.
#[derive(Debug, Args)]
pub(crate) struct CriArgs {
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    /// Name of the instance, which bridge and cgroups carry
    #[arg(long, env = "OXIKUBE_NAME", default_value = "oxikube")]
    name: String,
    /// Socket to listen on [default: run/cri.sock in the data directory]
    #[arg(long, value_name = "SOCKET")]
    listen: Option<PathBuf>,
    /// Address range of pods
    #[arg(long, default_value = "10.244.0.0/16", value_name = "CIDR")]
    cluster_cidr: ipnet::IpNet,
    /// Address range of this node's pods, unless a kubelet tells it
    #[arg(long, value_name = "CIDR")]
    pod_cidr: Option<ipnet::Ipv4Net>,
}

pub(crate) async fn run(args: CriArgs, shutdown: CancellationToken) -> Result<(), Problem> {
    let instance = Instance::new(&args.data.data_dir);
    let ownership = instance.own()?;
    instance.keep_name(&args.name)?;
    instance.keep_engine(&Endpoint::Native)?;
    let settings = NodeSettings { cluster_cidr: args.cluster_cidr, ..NodeSettings::new(&args.name, "") };
    let node = Node::open(&instance, &settings).await?;
    if let Some(range) = args.pod_cidr {
        node.network.set_pod_cidr(range.trunc()).await.during("cannot set up the pod network")?;
    }
    let listen = args.listen.unwrap_or_else(|| instance.path("run/cri.sock"));
    let socket = listen.to_str().and_then(|path| path.strip_prefix("unix://")).map_or(listen.clone(), PathBuf::from);
    let door = crate::images::serve(instance.path("run/images.sock"), node.engine.clone(), shutdown.clone());
    let served = async {
        let served = cri::server::serve(node.engine.clone(), &socket, shutdown.clone()).await;
        shutdown.cancel();
        served
    };
    let (served, ()) = tokio::join!(served, door);
    node.engine.close().await;
    ownership.release()?;
    served.during("cannot offer the engine")
}
