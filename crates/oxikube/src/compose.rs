//! The all-in-one server: every role in one process, started in an explicit order, stopped in its reverse.

mod config;
mod endpoint;
mod engine;
mod machines;
mod master;
mod node;
mod plugin;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use apiserver::{ApiServer, User};
use client::election::Election;
use cluster::balancer::Balancer;
use cluster::node::{NodeFiles, NodeSettings};
use cluster::pki::{Leaf, Pki};
use controllers::Controllers;
use scheduler::Scheduler;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::ServerArgs;
use crate::instance::Instance;
use crate::leader::{self, Guarded};
use crate::master::Master;
use crate::problem::{During, Problem};
use crate::store;

pub(crate) use config::{
    advertise_address, api_certificates, kubelet_certificate, node_name, scheduler as scheduler_config, server_node,
};
pub(crate) use endpoint::Endpoint;
pub(crate) use machines::etcd::program as etcd_program;
pub(crate) use machines::{
    Fleet, SeenMachine, control_planes, network as node_network, nodes as node_directories, seen as machines_seen,
    serving, teardown as take_machines_down,
};
pub(crate) use master::{end_member, members, membership};
pub(crate) use node::{Clients, Node};

use master::Member;

/// Runs the cluster until `shutdown`; on one of several masters that have a machine of their own, with its member of etcd.
/// `started` is called with the node's name when the API answers.
pub(crate) async fn run(
    args: &ServerArgs,
    instance: &Instance,
    shutdown: CancellationToken,
    started: impl FnOnce(String) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let Some(mut master) = Master::read(instance)? else {
        return serve(args, instance, None, shutdown, started).await;
    };
    let member = Member::start(instance, &master).await?;
    let caught_up = tokio::select! {
        caught_up = master::catch_up(instance, &mut master) => caught_up,
        () = shutdown.cancelled() => Ok(()),
    };
    let outcome = match caught_up {
        Ok(()) if shutdown.is_cancelled() => Ok(()),
        Ok(()) => {
            let args = ServerArgs { etcd: master.store(instance), ..args.clone() };
            serve(&args, instance, Some(&master), shutdown, started).await
        }
        Err(problem) => Err(problem),
    };
    member.stop().await;
    outcome
}

async fn serve(
    args: &ServerArgs,
    instance: &Instance,
    master: Option<&Master>,
    shutdown: CancellationToken,
    started: impl FnOnce(String) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let scheduling = config::scheduler(args.scheduler_config.as_deref())?;
    let listener = bind(SocketAddr::from(([0, 0, 0, 0], args.api_port)), "--api-port").await?;
    let fleet = Fleet::open(instance, args).await?;
    if let Some(fleet) = &fleet {
        fleet.make().await?;
    }
    let pki = Pki::open(&instance.path("pki")).during("cannot prepare keys and certificates")?;
    let fleet = match fleet {
        Some(fleet) if !fleet.servers().is_empty() => {
            write_kubeconfig(args, instance, &pki)?;
            fleet.furnish(instance, &pki)?;
            return several_masters(fleet, listener, shutdown, started).await;
        }
        other => other,
    };
    let (mut settings, address) = server_node(args, fleet.as_ref(), instance.node().as_ref())?;
    settings.cgroup = master.and_then(|master| master.cgroup.clone());
    let name = settings.node.clone();
    if !args.without_node {
        instance.keep_node(&name)?;
    }
    let api_config = config::api_server(args, &pki, &name, address)?;
    write_kubeconfig(args, instance, &pki)?;
    let store = store::open(&args.etcd, &instance.path("store"), pki.ca()).await?;
    let api = Arc::new(ApiServer::build(api_config, store).during("cannot build the API server")?);
    api.bootstrap().await.during("cannot make the first objects")?;

    let admin = api.client(User::authenticated("kubernetes-admin", &["kubeadm:cluster-admins"]));
    config::publish_settings(args, master, admin).await?;

    // Stopping is the reverse of starting: the API server goes last, after those who still report to it.
    let serving = CancellationToken::new();
    let api_task = {
        let (api, stop) = (api.clone(), serving.clone());
        tokio::spawn(async move { api.run(listener, stop).await })
    };
    started(name.clone())?;
    let mut roles = Roles::new(shutdown.clone());
    lead(&mut roles, args, &api, &pki, (&name, scheduling));
    let engine = match args.without_node {
        true => None,
        false => Some(beside(&mut roles, &api, instance, &pki, &settings, address).await?),
    };
    if let Some(fleet) = fleet {
        fleet.furnish(instance, &pki)?;
        roles.run("machines", fleet.run(roles.stop()));
    }
    roles.wait().await;
    if let Some(engine) = engine {
        engine.close().await;
    }
    serving.cancel();
    api_task.await.during("the API server failed")?.during("the API server failed")
}

/// Runs a node beside the control plane.
async fn beside(
    roles: &mut Roles,
    api: &Arc<ApiServer>,
    instance: &Instance,
    pki: &Pki,
    settings: &NodeSettings,
    address: IpAddr,
) -> Result<Arc<dyn cri::Local>, Problem> {
    let node = Node::open(instance, settings).await?;
    let name = &settings.node;
    kubelet_certificate(pki, name, address)?;
    let tls = machines::serving(&NodeFiles::new(instance.root()), false);
    let node_client = || api.client(User::authenticated(&cluster::node::user(name), &["system:nodes"]));
    let clients = Clients {
        kubelet: node_client(),
        gateway: node_client(),
        proxy: api.client(User::authenticated("system:kube-proxy", &[])),
        dns: api.client(User::service_account("kube-system", "kube-dns")),
    };
    node.run(roles, instance, node.kubelet_config(instance, address, tls), clients).await?;
    Ok(node.engine)
}

/// The machines have the whole cluster: this process sees to them and is the one address of their API servers.
async fn several_masters(
    fleet: Fleet,
    listener: TcpListener,
    shutdown: CancellationToken,
    started: impl FnOnce(String) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut roles = Roles::new(shutdown);
    roles.run("balancer", Balancer::new(fleet.servers().to_vec()).run(listener, roles.stop()));
    roles.run("machines", fleet.run(roles.stop()));
    started(String::new())?;
    roles.wait().await;
    Ok(())
}

/// A node that has never said anything has this long at least.
const STARTUP_GRACE: Duration = Duration::from_secs(60);

/// Roles under way. One that ends before it is told to ends the server: whoever supervises it starts it anew.
pub(crate) struct Roles {
    tasks: JoinSet<&'static str>,
    shutdown: CancellationToken,
}

impl Roles {
    pub(crate) fn new(shutdown: CancellationToken) -> Self {
        Self { tasks: JoinSet::new(), shutdown }
    }

    /// What tells them to stop.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    pub(crate) fn run(&mut self, name: &'static str, role: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(async move {
            role.await;
            name
        });
    }

    pub(crate) async fn wait(mut self) {
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
        authority: Some(controllers::Authority {
            certificate: pki.authority().certificate.clone(),
            key: pki.authority().key.clone(),
            duration: args.cluster_signing_duration,
        }),
        terminated_pods: 12_500,
        node_monitor_grace_period: args.node_monitor_grace_period,
        node_startup_grace_period: args.node_monitor_grace_period.max(STARTUP_GRACE),
    }
}

/// Runs the parts of which one in the cluster is at work. A server that is alone on its store does not elect: it would
/// only wait for its own lease after a crash.
fn lead(
    roles: &mut Roles,
    args: &ServerArgs,
    api: &Arc<ApiServer>,
    pki: &Pki,
    (name, scheduling): (&str, scheduler::Config),
) {
    let elect = |role| args.etcd.is_given().then(|| Election::new(role, name));
    let own = api.client(User::authenticated("system:kube-controller-manager", &[]));
    let config = controllers(args, api, pki);
    let work = move |guard: Guarded, ended| Controllers::build(guarded(&config, &guard)).run(ended);
    roles.run("controller-manager", leader::run(own, elect("kube-controller-manager"), roles.stop(), work));
    let own = api.client(User::authenticated("system:kube-scheduler", &[]));
    let client = own.clone();
    let work = move |guard: Guarded, ended| Scheduler::build(scheduling.clone(), guard(client.clone())).run(ended);
    roles.run("scheduler", leader::run(own, elect("kube-scheduler"), roles.stop(), work));
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

/// Takes away what a server or a node left on the host: containers, network, cgroups.
pub(crate) async fn teardown(instance: &Instance, name: &str) -> Result<(), Problem> {
    if !Path::new(&instance.path("podnet")).exists() {
        return Ok(());
    }
    let mut settings = instance.node_settings()?;
    name.clone_into(&mut settings.name);
    Node::open(instance, &settings).await?.teardown().await?;
    instance.forget_engine()?;
    proxy::teardown(name).await.during("cannot remove the rules of services")?;
    sys::mount::unmount_inside(instance.root()).during("cannot unmount the volumes of pods")
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
