//! `oxikube dns`: the resolver of one node.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use dns::{Config, Dns};
use sys::netlink::Netlink;
use tokio_util::sync::CancellationToken;

use super::Kubeconfig;
use crate::logging::LogArgs;
use crate::problem::{During, Problem};

/// Where the address of the cluster's DNS is put.
const LINK: &str = "lo";

/// Flags of the resolver.
#[derive(Debug, Args)]
pub(crate) struct DnsArgs {
    #[command(flatten)]
    kubeconfig: Kubeconfig,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    /// Address to answer at; it is put on 'lo' while this runs
    #[arg(long, default_value = "10.96.0.10", value_name = "IP")]
    cluster_dns: IpAddr,
    /// Domain of the cluster
    #[arg(long, default_value = "cluster.local")]
    cluster_domain: String,
    /// Where to find the name servers for all other names
    #[arg(long, default_value = "/etc/resolv.conf", value_name = "FILE")]
    resolv_conf: PathBuf,
    /// Name of the node, whose pods' search paths are walked here [default: the host's]
    #[arg(long, value_name = "NAME")]
    hostname_override: Option<String>,
}

pub(crate) async fn run(args: DnsArgs, shutdown: CancellationToken) -> Result<(), Problem> {
    let client = args.kubeconfig.client().await?;
    let address = args.cluster_dns;
    let netlink = Netlink::here().during("cannot reach the kernel's network")?;
    let put = netlink.address(LINK, address, if address.is_ipv4() { 32 } else { 128 }).await;
    put.during(format!("cannot put {address} on {LINK}"))?;
    let config = Config {
        listen: vec![SocketAddr::new(address, 53)],
        cluster_domain: args.cluster_domain,
        upstreams: Vec::new(),
        resolv_conf: args.resolv_conf,
        node_name: Some(super::node_name(args.hostname_override.as_ref())?),
    };
    let served = match Dns::build(config, client).await {
        Ok(dns) => {
            dns.run(shutdown).await;
            Ok(())
        }
        Err(error) => Err(error).during("cannot start the resolver"),
    };
    netlink.remove_address(LINK, address).await.during(format!("cannot take {address} off {LINK}"))?;
    served
}
