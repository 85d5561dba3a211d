//! `oxikube gateway`: Ingresses served at one node.

use std::net::IpAddr;

use clap::Args;
use gateway::Gateway;
use tokio_util::sync::CancellationToken;

use super::Kubeconfig;
use crate::compose;
use crate::gateway::{GatewayArgs, config};
use crate::logging::LogArgs;
use crate::problem::Problem;

/// Flags of the gateway.
#[derive(Debug, Args)]
pub(crate) struct GatewayRoleArgs {
    #[command(flatten)]
    kubeconfig: Kubeconfig,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    /// Name of the node [default: the host's]
    #[arg(long, value_name = "NAME")]
    hostname_override: Option<String>,
    /// Address to answer at [default: the one this machine reaches others from]
    #[arg(long, value_name = "IP")]
    node_ip: Option<IpAddr>,
    #[command(flatten)]
    ports: GatewayArgs,
}

pub(crate) async fn run(args: GatewayRoleArgs, shutdown: CancellationToken) -> Result<(), Problem> {
    let informers = client::Informers::new(args.kubeconfig.client().await?);
    let node = super::node_name(args.hostname_override.as_ref())?;
    let address = args.node_ip.map_or_else(compose::advertise_address, Ok)?;
    let Some(config) = config(&node, address, args.ports.ports()) else {
        return Err(Problem::new("the gateway has no port; give it one with --gateway-http-port"));
    };
    Gateway::build(config, &informers).run(shutdown).await;
    Ok(())
}
