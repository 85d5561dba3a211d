//! `oxikube controller-manager`

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use controllers::{Config, Controllers};
use tokio_util::sync::CancellationToken;

use super::{Kubeconfig, read};
use crate::accounts::Accounts;
use crate::cli::duration;
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
    /// Certificate that certificates are signed with
    #[arg(long, value_name = "FILE", requires = "cluster_signing_key_file")]
    cluster_signing_cert_file: Option<PathBuf>,
    /// Key that certificates are signed with
    #[arg(long, value_name = "FILE", requires = "cluster_signing_cert_file")]
    cluster_signing_key_file: Option<PathBuf>,
    /// How long certificates are good that are signed
    #[arg(long, default_value = "8760h", value_parser = duration, value_name = "DURATION")]
    cluster_signing_duration: Duration,
    /// Finished pods that are kept at most
    #[arg(long, default_value_t = 12_500)]
    terminated_pod_gc_threshold: usize,
    /// How long a node may be silent before it counts as not ready
    #[arg(long, default_value = "50s", value_parser = duration, value_name = "DURATION")]
    node_monitor_grace_period: Duration,
    /// How long a node may be silent at first
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "DURATION")]
    node_startup_grace_period: Duration,
    /// Taken for upstream's sake: a node's silence is noticed when its time is over, without looking now and then
    #[arg(long, default_value = "5s", value_parser = duration, value_name = "DURATION")]
    node_monitor_period: Duration,
    /// Let each controller act under its own service account
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    use_service_account_credentials: bool,
}

pub(crate) async fn run(args: ControllerManagerArgs, shutdown: CancellationToken) -> Result<(), Problem> {
    let client = args.kubeconfig.client().await?;
    let accounts = Accounts::new(&args.kubeconfig.kubeconfig, client.clone(), shutdown.clone()).await;
    let accounts = accounts.during("cannot act for service accounts")?;
    let authority = match (&args.cluster_signing_cert_file, &args.cluster_signing_key_file) {
        (Some(certificate), Some(key)) => Some(controllers::Authority {
            certificate: read(certificate)?,
            key: read(key)?,
            duration: args.cluster_signing_duration,
        }),
        _ => None,
    };
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
            authority: authority.clone(),
            terminated_pods: args.terminated_pod_gc_threshold,
            node_monitor_grace_period: args.node_monitor_grace_period,
            node_startup_grace_period: args.node_startup_grace_period,
        };
        Controllers::build(config).run(ended)
    })
    .await;
    Ok(())
}
