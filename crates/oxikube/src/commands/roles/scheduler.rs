//! `oxikube scheduler`

use clap::Args;
use scheduler::{Config, Scheduler};
use tokio_util::sync::CancellationToken;

use super::Kubeconfig;
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
}

pub(crate) async fn run(args: SchedulerArgs, shutdown: CancellationToken) -> Result<(), Problem> {
    let client = args.kubeconfig.client().await?;
    let election = args.leader.election("kube-scheduler")?;
    let own = client.clone();
    leader::run(client, election, shutdown, |guard, ended| {
        Scheduler::build(Config::default(), guard(own.clone())).run(ended)
    })
    .await;
    Ok(())
}
