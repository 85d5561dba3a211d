//! The all-in-one server: every role in one process, started in an explicit order, stopped in its reverse.

mod config;

use std::sync::Arc;

use apiserver::ApiServer;
use cluster::pki::{Leaf, Pki};
use storage::embedded::Embedded;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::ServerArgs;
use crate::instance::Instance;
use crate::problem::{During, Problem};

pub(crate) use config::node_name;

/// Runs the cluster until `shutdown`. `started` is called when the API answers.
pub(crate) async fn run(
    args: &ServerArgs,
    instance: &Instance,
    shutdown: CancellationToken,
    started: impl FnOnce() -> Result<(), Problem>,
) -> Result<(), Problem> {
    let node = node_name(args)?;
    let address = config::advertise_address()?;
    let listener = bind(args).await?;
    let pki = Pki::open(&instance.path("pki")).during("cannot prepare keys and certificates")?;
    let api_config = config::api_server(args, &pki, &node, address)?;
    write_kubeconfig(args, instance, &pki)?;
    let store = Embedded::open(&instance.path("store"), &storage::embedded::Options::default())
        .during("cannot open the store")?;
    let api = Arc::new(ApiServer::build(api_config, Arc::new(store)).during("cannot build the API server")?);
    api.bootstrap().await.during("cannot make the first objects")?;
    let serving = {
        let (api, stop) = (api.clone(), shutdown.clone());
        tokio::spawn(async move { api.run(listener, stop).await })
    };
    started()?;
    serving.await.during("the API server failed")?.during("the API server failed")
}

/// Takes away what the cluster left on the host: containers, network, cgroups.
pub(crate) fn teardown(_instance: &Instance, _name: &str) -> Result<(), Problem> {
    Ok(())
}

async fn bind(args: &ServerArgs) -> Result<TcpListener, Problem> {
    TcpListener::bind(("0.0.0.0", args.api_port)).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => Problem::new(format!(
            "port {} is taken by another program; stop it or choose another with --api-port",
            args.api_port
        )),
        _ => Problem::new(format!("cannot listen on port {}: {e}", args.api_port)),
    })
}

fn write_kubeconfig(args: &ServerArgs, instance: &Instance, pki: &Pki) -> Result<(), Problem> {
    let server = format!("https://127.0.0.1:{}", args.api_port);
    let admin = pki
        .leaf("admin", &Leaf::client("kubernetes-admin", &["kubeadm:cluster-admins"]))
        .during("cannot make the administrator's certificate")?;
    let text = cluster::kubeconfig::render(&server, pki.ca(), &args.name, "kubernetes-admin", &admin);
    cluster::kubeconfig::save(&instance.kubeconfig(), &text).during("cannot write the kubeconfig")
}
