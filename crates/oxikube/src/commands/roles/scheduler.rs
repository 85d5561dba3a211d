//! `oxikube scheduler`

use std::path::PathBuf;

use clap::Args;
use scheduler::Scheduler;
use tokio_util::sync::CancellationToken;

use super::Kubeconfig;
use crate::compose;
use crate::leader::{self, LeaderArgs};
use crate::logging::LogArgs;
use crate::problem::Problem;

/// Flags of kube-scheduler that mean something here.
#[derive(Debug, Args)]
pub(crate) struct SchedulerArgs {
    #[command(flatten)]
    kubeconfig: Kubeconfig,
    #[command(flatten)]
    leader: LeaderArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    /// KubeSchedulerConfiguration with profiles
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(crate) async fn run(args: SchedulerArgs, shutdown: CancellationToken) -> Result<(), Problem> {
    let client = args.kubeconfig.client().await?;
    let config = compose::scheduler_config(args.config.as_deref())?;
    let election = args.leader.election("kube-scheduler")?;
    let own = client.clone();
    leader::run(client, election, shutdown, |guard, ended| {
        Scheduler::build(config.clone(), guard(own.clone())).run(ended)
    })
    .await;
    Ok(())
}
