//! `oxikube scheduler`

use std::path::{Path, PathBuf};

use clap::Args;
use scheduler::{Config, Scheduler};
use tokio_util::sync::CancellationToken;

use super::Kubeconfig;
use crate::leader::{self, LeaderArgs};
use crate::logging::LogArgs;
use crate::problem::{During, Problem};

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
    let config = match &args.config {
        Some(path) => Config { profiles: profiles(path)? },
        None => Config::default(),
    };
    let election = args.leader.election("kube-scheduler")?;
    let own = client.clone();
    leader::run(client, election, shutdown, |guard, ended| {
        Scheduler::build(config.clone(), guard(own.clone())).run(ended)
    })
    .await;
    Ok(())
}

fn profiles(path: &Path) -> Result<Vec<scheduler::Profile>, Problem> {
    let what = || format!("cannot use the configuration {}", path.display());
    let tree: serde_json::Value = serde_saphyr::from_str(&super::read(path)?).during(what())?;
    scheduler::profiles(&tree).during(what())
}
