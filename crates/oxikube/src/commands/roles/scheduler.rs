//! `oxikube scheduler`

use clap::Args;
use scheduler::{Config, Scheduler};
use tokio_util::sync::CancellationToken;

use super::Kubeconfig;
use crate::logging::LogArgs;
use crate::problem::Problem;

/// Flags of kube-scheduler that mean something here.
#[derive(Debug, Args)]
pub(crate) struct SchedulerArgs {
    #[command(flatten)]
    kubeconfig: Kubeconfig,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

pub(crate) async fn run(args: SchedulerArgs, shutdown: CancellationToken) -> Result<(), Problem> {
    let client = args.kubeconfig.client().await?;
    Scheduler::build(Config::default(), client).run(shutdown).await;
    Ok(())
}
