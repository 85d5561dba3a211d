//! The all-in-one server: every role in one process, started in an explicit order, stopped in its reverse.

mod config;
mod endpoint;
mod engine;
mod node;
mod plugin;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use apiserver::{ApiServer, User};
use cluster::pki::{Leaf, Pki};
use controllers::Controllers;
use proxy::Proxy;
use scheduler::Scheduler;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::ServerArgs;
use crate::images;
use crate::instance::Instance;
use crate::leader::{self, Guarded};
use crate::problem::{During, Problem};
use crate::store;

pub(crate) use config::{advertise_address, api_certificates, kubelet_certificate, node_name};
pub(crate) use endpoint::Endpoint;
pub(crate) use node::Node;

/// Runs the cluster until `shutdown`. `started` is called when the API answers.
pub(crate) async fn run(
    args: &ServerArgs,
    instance: &Instance,
    shutdown: CancellationToken,
    started: impl FnOnce() -> Result<(), Problem>,
) -> Result<(), Problem> {
    let name = node_name(args.hostname_override.as_ref())?;
    let address = config::advertise_address()?;
    let listener = bind(SocketAddr::from(([0, 0, 0, 0], args.api_port)), "--api-port").await?;
    let pki = Pki::open(&instance.path("pki")).during("cannot prepare keys and certificates")?;
    let api_config = config::api_server(args, &pki, &name, address)?;
    write_kubeconfig(args, instance, &pki)?;
    let store = store::open(&args.etcd, &instance.path("store")).await?;
    let api = Arc::new(ApiServer::build(api_config, store).during("cannot build the API server")?);
    api.bootstrap().await.during("cannot make the first objects")?;

    // Stopping is the reverse of starting: the API server goes last, after those who still report to it.
    let serving = CancellationToken::new();
    let api_task = {
        let (api, stop) = (api.clone(), serving.clone());
        tokio::spawn(async move { api.run(listener, stop).await })
    };
    started()?;
    let mut roles = Roles::new(shutdown.clone());
    let node = Node::open(instance, &args.name, args.cluster_cidr, &args.container_runtime_endpoint).await?;
    node.prepare().await?;
    roles.run("images", images::serve(instance.path("run/images.sock"), node.engine.clone(), shutdown.clone()));
    let user = User::authenticated(&format!("system:node:{name}"), &["system:nodes"]);
    let kubelet = node.kubelet(args, instance, &pki, &name, address, api.client(user)).await?;
    // A server that is alone on its store does not elect: it would only wait for its own lease after a crash.
    let elect = |role| args.etcd.is_given().then(|| leader::here(role)).transpose();
    let own = api.client(User::authenticated("system:kube-controller-manager", &[]));
    let config = controllers(args, &api, &pki);
    let work = move |guard: Guarded, ended| Controllers::build(guarded(&config, &guard)).run(ended);
    roles.run("controller-manager", leader::run(own, elect("kube-controller-manager")?, shutdown.clone(), work));
    let own = api.client(User::authenticated("system:kube-scheduler", &[]));
    let client = own.clone();
    let work =
        move |guard: Guarded, ended| Scheduler::build(scheduler::Config::default(), guard(client.clone())).run(ended);
    roles.run("scheduler", leader::run(own, elect("kube-scheduler")?, shutdown.clone(), work));
    roles.run("kubelet", kubelet.run(shutdown.clone()));
    let proxy = config::proxy(args, &name);
    let informers = client::Informers::new(api.client(User::authenticated("system:kube-proxy", &[])));
    roles.run("proxy", Proxy::build(proxy, &informers).run(shutdown.clone()));
    if let Some(dns) = node.dns(args, api.client(User::service_account("kube-system", "kube-dns"))).await? {
        roles.run("dns", dns.run(shutdown.clone()));
    }
    roles.wait().await;
    node.engine.close().await;
    serving.cancel();
    api_task.await.during("the API server failed")?.during("the API server failed")
}

/// Roles under way. One that ends before it is told to ends the server: whoever supervises it starts it anew.
struct Roles {
    tasks: JoinSet<&'static str>,
    shutdown: CancellationToken,
}

impl Roles {
    fn new(shutdown: CancellationToken) -> Self {
        Self { tasks: JoinSet::new(), shutdown }
    }

    fn run(&mut self, name: &'static str, role: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(async move {
            role.await;
            name
        });
    }

    async fn wait(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(role) if self.shutdown.is_cancelled() => tracing::info!(role, "stopped"),
                Ok(role) => tracing::error!(role, "ended by itself, the server stops"),
                Err(error) => tracing::error!(%error, "a role broke, the server stops"),
            }
            self.shutdown.cancel();
        }
    }
}

fn controllers(args: &ServerArgs, api: &Arc<ApiServer>, pki: &Pki) -> controllers::Config {
    let own = api.clone();
    controllers::Config {
        client: api.client(User::authenticated("system:kube-controller-manager", &[])),
        client_for: Arc::new(move |name: &str| own.client(User::service_account("kube-system", name))),
        cluster_cidr: Some(args.cluster_cidr),
        node_cidr_mask: None,
        root_ca: Some(pki.ca().to_owned()),
        terminated_pods: 12_500,
    }
}

/// The controllers of one term as the leader.
fn guarded(config: &controllers::Config, guard: &Guarded) -> controllers::Config {
    let (all, guard) = (config.client_for.clone(), guard.clone());
    controllers::Config {
        client: guard(config.client.clone()),
        client_for: Arc::new(move |name: &str| guard(all(name))),
        ..config.clone()
    }
}

/// Takes away what the cluster left on the host: containers, network, cgroups.
pub(crate) async fn teardown(instance: &Instance, name: &str) -> Result<(), Problem> {
    if !Path::new(&instance.path("podnet")).exists() {
        return Ok(());
    }
    // The range of the cluster plays no part in taking the network away.
    let any = ipnet::IpNet::V4(ipnet::Ipv4Net::default());
    Node::open(instance, name, any, &instance.engine()?).await?.teardown().await?;
    instance.forget_engine()?;
    proxy::teardown(name).await.during("cannot remove the rules of services")?;
    sys::mount::unmount_below(instance.root()).during("cannot unmount the volumes of pods")
}

/// Listens; `flag` is what chooses another port.
pub(crate) async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener, Problem> {
    let port = address.port();
    TcpListener::bind(address).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => {
            Problem::new(format!("port {port} is taken by another program; stop it or choose another with {flag}"))
        }
        _ => Problem::new(format!("cannot listen on {address}: {e}")),
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
