//! `oxikube controller-manager`

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use controllers::{Config, Controllers};
use tokio_util::sync::CancellationToken;

use super::{Kubeconfig, read};
use crate::accounts::Accounts;
use crate::leader::{self, LeaderArgs};
use crate::logging::LogArgs;
use crate::problem::{During, Problem};

/// Flags of kube-controller-manager that mean something here.
#[derive(Debug, Args)]
pub(crate) struct ControllerManagerArgs {
    #[command(flatten)]
    kubeconfig: Kubeconfig,
    #[command(flatten)]
    leader: LeaderArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    /// Address range of pods
    #[arg(long, default_value = "10.244.0.0/16", value_name = "CIDR")]
    cluster_cidr: ipnet::IpNet,
    /// Length of a node's address prefix
    #[arg(long, default_value_t = 24, value_name = "BITS")]
    node_cidr_mask_size: u8,
    /// CA that pods are to trust
    #[arg(long, value_name = "FILE")]
    root_ca_file: PathBuf,
    /// Finished pods that are kept at most
    #[arg(long, default_value_t = 12_500)]
    terminated_pod_gc_threshold: usize,
    /// Let each controller act under its own service account
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    use_service_account_credentials: bool,
}

pub(crate) async fn run(args: ControllerManagerArgs, shutdown: CancellationToken) -> Result<(), Problem> {
    let client = args.kubeconfig.client().await?;
    let accounts = Accounts::new(&args.kubeconfig.kubeconfig, client.clone(), shutdown.clone()).await;
    let accounts = accounts.during("cannot act for service accounts")?;
    let accounts = args.use_service_account_credentials.then_some(accounts);
    let root_ca = read(&args.root_ca_file)?;
    let election = args.leader.election("kube-controller-manager")?;
    let (own, elected) = (client.clone(), client);
    leader::run(elected, election, shutdown, |guard, ended| {
        let (guarded, guard) = (guard(own.clone()), guard.clone());
        let accounts = accounts.clone();
        let config = Config {
            client: guarded.clone(),
            client_for: Arc::new(move |name: &str| match &accounts {
                Some(accounts) => guard(accounts.client(name)),
                None => guarded.clone(),
            }),
            cluster_cidr: Some(args.cluster_cidr),
            node_cidr_mask: Some(args.node_cidr_mask_size),
            root_ca: Some(root_ca.clone()),
            terminated_pods: args.terminated_pod_gc_threshold,
        };
        Controllers::build(config).run(ended)
    })
    .await;
    Ok(())
}
