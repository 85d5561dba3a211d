//! `oxikube balancer`: one address for several API servers.

use std::net::SocketAddr;

use clap::Args;
use cluster::balancer::Balancer;
use tokio_util::sync::CancellationToken;

use crate::compose;
use crate::logging::LogArgs;
use crate::problem::Problem;

/// Flags of the balancer.
#[derive(Debug, Args)]
pub(crate) struct BalancerArgs {
    /// Address to listen at
    #[arg(long, default_value = "127.0.0.1:7443", value_name = "IP:PORT")]
    listen: SocketAddr,
    /// The API servers
    #[arg(long, required = true, value_delimiter = ',', value_name = "IP:PORT,…")]
    servers: Vec<SocketAddr>,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

pub(crate) async fn run(args: BalancerArgs, shutdown: CancellationToken) -> Result<(), Problem> {
    let listener = compose::bind(args.listen, "--listen").await?;
    Balancer::new(args.servers).run(listener, shutdown).await;
    Ok(())
}
