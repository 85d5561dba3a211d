//! `oxikube reset`: this machine is part of no cluster any more. What broke off half-way can be run again.

use std::time::Duration;

use clap::Args;
use cluster::node::{NodeFiles, NodeSettings};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::DeleteParams;

use super::down;
use crate::cli::DataDir;
use crate::instance::Instance;
use crate::problem::Problem;

/// Arguments of `reset`.
#[derive(Debug, Args)]
pub(crate) struct ResetArgs {
    #[command(flatten)]
    data: DataDir,
    /// Also remove a whole cluster with all that is kept in it
    #[arg(short, long)]
    force: bool,
}

/// The cluster may be gone: it is not waited for.
const GOODBYE: Duration = Duration::from_secs(5);

pub(crate) async fn run(args: ResetArgs) -> Result<(), Problem> {
    let instance = Instance::new(&args.data.data_dir);
    let root = instance.root();
    if !root.exists() {
        println!("nothing to reset: {} is not there", root.display());
        return Ok(());
    }
    if !instance.path("VERSION").exists() {
        return Err(Problem::new(format!("{} is not an oxikube data directory; nothing was removed", root.display())));
    }
    if !args.force && instance.path("pki/ca.key").exists() {
        return Err(Problem::new(format!(
            "{} holds a whole cluster, and everything in it would be lost; say --force if that is meant",
            root.display()
        )));
    }
    // A file that broke is no reason to keep the rest.
    let settings = NodeFiles::new(root).settings().unwrap_or_default();
    let ownership = down::stop_all(&instance, None).await?;
    if let Some(settings) = settings {
        match tokio::time::timeout(GOODBYE, leave(&instance, &settings)).await {
            Ok(Ok(())) => println!("node {} removed from the cluster", settings.node),
            Ok(Err(why)) => still_known(&settings.node, &why),
            Err(_) => still_known(&settings.node, "the cluster does not answer"),
        }
    }
    ownership.purge()?;
    println!("data removed");
    Ok(())
}

/// Takes the Node out of the cluster, as the node itself.
async fn leave(instance: &Instance, settings: &NodeSettings) -> Result<(), String> {
    let path = NodeFiles::new(instance.root()).kubeconfig();
    let client = client::connect::from_kubeconfig(&path).await.map_err(|error| error.to_string())?;
    match Api::<Node>::all(client).delete(&settings.node, &DeleteParams::default()).await {
        Err(error) if !client::write::is_not_found(&error) => Err(match client::write::code(&error) {
            Some(403) => "an administrator has marked the node".to_owned(),
            Some(_) => error.to_string(),
            None => "the cluster does not answer".to_owned(),
        }),
        _ => Ok(()),
    }
}

fn still_known(node: &str, why: &str) {
    println!("the cluster still knows the node ({why}); remove it with 'kubectl delete node {node}'");
}
