//! `oxikube proxy`

use clap::Args;
use proxy::{Config, Proxy};
use tokio_util::sync::CancellationToken;

use super::Kubeconfig;
use crate::logging::LogArgs;
use crate::problem::Problem;

/// Flags of kube-proxy that mean something here.
#[derive(Debug, Args)]
pub(crate) struct ProxyArgs {
    #[command(flatten)]
    kubeconfig: Kubeconfig,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    /// Name of the instance, which the nftables table carries
    #[arg(long, env = "OXIKUBE_NAME", default_value = "oxikube")]
    name: String,
    /// Name of the node [default: the host's]
    #[arg(long, value_name = "NAME")]
    hostname_override: Option<String>,
    /// Address range of pods
    #[arg(long, default_value = "10.244.0.0/16", value_name = "CIDR")]
    cluster_cidr: ipnet::Ipv4Net,
    /// Address of the cluster's DNS, which the node answers at itself
    #[arg(long, default_value = "10.96.0.10", value_name = "IP")]
    cluster_dns: std::net::Ipv4Addr,
    /// How services are programmed; only nftables is there
    #[arg(long, default_value = "nftables", value_parser = ["nftables"])]
    proxy_mode: String,
}

pub(crate) async fn run(args: ProxyArgs, shutdown: CancellationToken) -> Result<(), Problem> {
    let informers = client::Informers::new(args.kubeconfig.client().await?);
    let node_name = super::node_name(args.hostname_override.as_ref())?;
    let config = Config {
        instance: args.name,
        node_name,
        cluster_cidr: Some(args.cluster_cidr),
        answered_here: vec![args.cluster_dns],
    };
    Proxy::build(config, &informers).run(shutdown).await;
    Ok(())
}
