//! `oxikube reset`: this machine is part of no cluster any more. What broke off half-way can be run again.

mod master;

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use cluster::node::NodeFiles;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::DeleteParams;

use super::down;
use crate::cli::DataDir;
use crate::instance::Instance;
use crate::master::Master;
use crate::problem::Problem;

/// Arguments of `reset`.
#[derive(Debug, Args)]
pub(crate) struct ResetArgs {
    #[command(flatten)]
    data: DataDir,
    /// Also remove a whole cluster with all that is kept in it, or a master that the others do not let go
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
    // Files that broke are no reason to keep the rest.
    let mut master = Master::read(&instance).unwrap_or_default();
    if let Some(master) = &mut master {
        master::look(&instance, master).await;
    }
    if !args.force && master::is_last(&instance, master.as_ref()) {
        return Err(Problem::new(format!(
            "{} holds a whole cluster, and everything in it would be lost; say --force if that is meant",
            root.display()
        )));
    }
    let membership = Membership::of(&instance, master, args.force).await?;
    let ownership = down::stop_all(&instance, None).await?;
    if let Some(membership) = membership {
        membership.end(&instance).await;
    }
    ownership.purge()?;
    println!("data removed");
    Ok(())
}

/// What the cluster knows of this machine.
struct Membership {
    node: String,
    is_master: bool,
    /// Other API servers than this machine's; none: the kubeconfig knows the way.
    servers: Vec<SocketAddr>,
}

impl Membership {
    /// Of a node, or of a master, which leaves its etcd now.
    async fn of(instance: &Instance, master: Option<Master>, force: bool) -> Result<Option<Self>, Problem> {
        let Some(master) = master else {
            let settings = NodeFiles::new(instance.root()).settings().unwrap_or_default();
            return Ok(settings.map(|told| Self { node: told.node, is_master: false, servers: told.servers }));
        };
        let servers = match master::leave(instance, &master).await {
            Ok(servers) => servers,
            Err(problem) if force => {
                println!("{problem}");
                Vec::new()
            }
            Err(problem) => {
                return Err(Problem::new(format!("{problem}; with --force, this machine is cleaned all the same")));
            }
        };
        // The last one takes the cluster with it.
        Ok((!servers.is_empty()).then_some(Self { node: master.name, is_master: true, servers }))
    }

    /// Takes node and API server out of the cluster, and says what came of it.
    async fn end(&self, instance: &Instance) {
        let ways: Vec<Option<SocketAddr>> = match self.servers.as_slice() {
            [] => vec![None],
            servers => servers.iter().copied().map(Some).collect(),
        };
        let mut why = String::new();
        for way in ways {
            match tokio::time::timeout(GOODBYE, self.leave(instance, way)).await {
                Ok(Ok(())) => return println!("node {} removed from the cluster", self.node),
                Ok(Err(reason)) => why = reason,
                Err(_) => "the cluster does not answer".clone_into(&mut why),
            }
        }
        println!("the cluster still knows the node ({why}); remove it with 'kubectl delete node {}'", self.node);
    }

    /// As the node itself, or as the administrator where this is a master.
    async fn leave(&self, instance: &Instance, server: Option<SocketAddr>) -> Result<(), String> {
        let path = if self.is_master { instance.kubeconfig() } else { NodeFiles::new(instance.root()).kubeconfig() };
        let client = match server {
            Some(server) => {
                let server = format!("https://{server}").parse().map_err(|error| format!("{error}"))?;
                client::connect::from_kubeconfig_to(&path, server).await
            }
            None => client::connect::from_kubeconfig(&path).await,
        };
        let client = client.map_err(|error| error.to_string())?;
        if self.is_master {
            master::forget(&client, &self.node).await.map_err(|error| said(&error))?;
        }
        match Api::<Node>::all(client).delete(&self.node, &DeleteParams::default()).await {
            Err(error) if !client::write::is_not_found(&error) => Err(said(&error)),
            _ => Ok(()),
        }
    }
}

fn said(error: &kube::Error) -> String {
    match client::write::code(error) {
        Some(403) => "an administrator has marked the node".to_owned(),
        Some(_) => error.to_string(),
        None => "the cluster does not answer".to_owned(),
    }
}
