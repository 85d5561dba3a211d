//! `oxikube kubelet`: kubelet, pod network and container engine of one node.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use cluster::node::NodeSettings;
use kubelet::{Kubelet, ServerTls};
use tokio_util::sync::CancellationToken;

use super::Kubeconfig;
use crate::cli::DataDir;
use crate::compose::{self, Endpoint, Node};
use crate::images;
use crate::instance::Instance;
use crate::logging::LogArgs;
use crate::problem::{During, Problem};

/// Flags of the kubelet that mean something here.
#[derive(Debug, Args)]
pub(crate) struct KubeletArgs {
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    kubeconfig: Kubeconfig,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    /// Name of the instance, which bridge and cgroups carry
    #[arg(long, env = "OXIKUBE_NAME", default_value = "oxikube")]
    name: String,
    /// Name of the node [default: the host's]
    #[arg(long, value_name = "NAME")]
    hostname_override: Option<String>,
    /// Address of the node [default: the one this machine reaches others from]
    #[arg(long, value_name = "IP")]
    node_ip: Option<IpAddr>,
    /// Port of the kubelet's server
    #[arg(long, default_value_t = 10250, value_name = "PORT")]
    port: u16,
    /// Certificate of the kubelet's server
    #[arg(long, value_name = "FILE")]
    tls_cert_file: PathBuf,
    /// Key of that certificate
    #[arg(long, value_name = "FILE")]
    tls_private_key_file: PathBuf,
    /// CA of client certificates
    #[arg(long, value_name = "FILE")]
    client_ca_file: PathBuf,
    /// Address of the cluster's DNS
    #[arg(long, default_value = "10.96.0.10", value_name = "IP")]
    cluster_dns: Vec<IpAddr>,
    /// Domain of the cluster
    #[arg(long, default_value = "cluster.local")]
    cluster_domain: String,
    /// Address range of pods
    #[arg(long, default_value = "10.244.0.0/16", value_name = "CIDR")]
    cluster_cidr: ipnet::IpNet,
    /// Folder of static pods
    #[arg(long, value_name = "DIR")]
    pod_manifest_path: Option<PathBuf>,
    /// Container engine: native, unix://SOCKET of one that speaks CRI, or docker://SOCKET
    #[arg(long, default_value_t, value_name = "ENDPOINT")]
    container_runtime_endpoint: Endpoint,
    /// Pods that run at most
    #[arg(long, default_value_t = 110, value_name = "NUMBER")]
    max_pods: usize,
    /// Kernel settings that pods may change beside the safe ones, as in kernel.msg*
    #[arg(long, value_delimiter = ',', value_name = "SYSCTL")]
    allowed_unsafe_sysctls: Vec<String>,
    /// What has to be left before pods are ended, as in memory.available<100Mi,nodefs.available<10%
    #[arg(long, value_delimiter = ',', value_parser = limit, value_name = "SIGNAL<QUANTITY")]
    eviction_hard: Vec<(String, String)>,
    /// How long the node's conditions tell of a shortage at least
    #[arg(long, default_value = "5m", value_parser = crate::cli::duration, value_name = "DURATION")]
    eviction_pressure_transition_period: Duration,
}

/// `SIGNAL<QUANTITY`, the quantity a number or a percentage.
fn limit(text: &str) -> Result<(String, String), String> {
    match text.split_once('<') {
        Some((signal, quantity)) if kubelet::is_eviction_limit(signal, quantity) => {
            Ok((signal.to_owned(), quantity.to_owned()))
        }
        _ => Err("write SIGNAL<QUANTITY, with memory.available, nodefs.available, nodefs.inodesFree, \
                  imagefs.available or pid.available and an amount such as 100Mi or 5%"
            .to_owned()),
    }
}

pub(crate) async fn run(args: KubeletArgs, shutdown: CancellationToken) -> Result<(), Problem> {
    let instance = Instance::new(&args.data.data_dir);
    let ownership = instance.own()?;
    instance.keep_name(&args.name)?;
    instance.keep_engine(&args.container_runtime_endpoint)?;
    let address = match args.node_ip {
        Some(address) => address,
        None => compose::advertise_address()?,
    };
    let settings = NodeSettings {
        kubelet_port: args.port,
        cluster_cidr: args.cluster_cidr,
        cluster_domain: args.cluster_domain,
        ..NodeSettings::new(&args.name, &super::node_name(args.hostname_override.as_ref())?)
    };
    let client = args.kubeconfig.client().await?;
    let node = Node::open(&instance, &settings).await?;
    node.prepare().await?;
    let tls = ServerTls {
        cert_file: args.tls_cert_file,
        key_file: args.tls_private_key_file,
        client_ca_file: Some(args.client_ca_file),
        bootstrap: false,
    };
    let mut config = node.kubelet_config(&instance, address, tls);
    config.cluster_dns = args.cluster_dns;
    config.static_pod_path = args.pod_manifest_path;
    config.max_pods = args.max_pods;
    config.allowed_unsafe_sysctls = args.allowed_unsafe_sysctls;
    config.eviction_hard.extend(args.eviction_hard);
    config.eviction_pressure_transition_period = args.eviction_pressure_transition_period;
    let ways = node.ways(&client::Informers::new(client.clone()))?;
    let kubelet = Kubelet::build(config, client, node.engine.clone()).await;
    let kubelet = kubelet.during("cannot build the kubelet")?;
    let door = images::serve(instance.path("run/images.sock"), node.engine.clone(), shutdown.clone());
    tokio::join!(kubelet.run(shutdown.clone()), ways.run(shutdown.clone()), door);
    node.engine.close().await;
    ownership.release()
}
