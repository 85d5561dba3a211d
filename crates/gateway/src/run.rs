//! Watches Ingresses and what they speak of as long as there are any; opens and closes the doors, and says so.

mod world;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::ingress::{Classes, PORTS};
use client::{Change, EventRecorder, Informer, Informers, Selection};
use k8s_openapi::api::core::v1::{Node, ObjectReference};
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use kube::Api;
use kube::api::{Patch, PatchParams};
use rustls::sign::CertifiedKey;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::certificates::{self, Resolver};
use crate::doors::{CONNECTIONS, Door, Hall};
use crate::entries::{self, NodeEntry};
use crate::forward::Forwarder;
use crate::table::{self, Problem, Table};
use crate::tell::Teller;
use world::World;

/// Changes within this time make one new table.
const GATHER: Duration = Duration::from_millis(5);
/// What failed, as taking a port, is tried again after this time.
const RETRY: Duration = Duration::from_secs(5);
/// One question to the API server takes at most this long.
const QUESTION: Duration = Duration::from_secs(10);
/// Connections have this long to finish when the gateway stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// How the gateway is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of this node.
    pub node_name: String,
    /// The address at which it answers.
    pub address: IpAddr,
    /// Port of HTTP; none for none.
    pub http_port: Option<u16>,
    /// Port of HTTPS; none for none.
    pub https_port: Option<u16>,
}

/// The gateway of one node. Nothing is open, and nothing but Ingresses, their classes and this node is watched, until
/// there is an Ingress to serve.
pub struct Gateway {
    config: Config,
    informers: Informers,
    ingresses: Informer<Ingress>,
    classes: Informer<IngressClass>,
    node: Informer<NodeEntry>,
}

impl Gateway {
    /// Nothing is open yet.
    pub fn build(config: Config, informers: &Informers) -> Self {
        let itself = Selection::fields(format!("metadata.name={}", config.node_name));
        Self {
            informers: informers.clone(),
            ingresses: informers.get(),
            classes: informers.get(),
            node: informers.project(itself, entries::node),
            config,
        }
    }

    /// Serves until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let (events, sink) = EventRecorder::new(self.informers.client(), "oxikube-gateway", &self.config.node_name);
        let (work, told) = (self.keep_up(events, shutdown.clone()), sink.run(shutdown));
        tokio::join!(work, told);
    }

    async fn keep_up(self, events: EventRecorder, shutdown: CancellationToken) {
        let changed = Arc::new(Notify::new());
        let (on_ingress, on_class, on_node) = (changed.clone(), changed.clone(), changed.clone());
        let _ingresses = self.ingresses.on_change(move |_| on_ingress.notify_one());
        let _classes = self.classes.on_change(move |_| on_class.notify_one());
        let _node = self.node.on_change(move |change| match change {
            Change::Applied { old: Some(old), new, .. } if old == new => {}
            _ => on_node.notify_one(),
        });
        let hall = CancellationToken::new();
        let mut keeper =
            Keeper { gateway: self, changed, events, world: None, open: None, teller: Teller::default(), hall };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = keeper.work() => {}
        }
        keeper.close().await;
    }
}

/// The open gateway.
struct Open {
    table: watch::Sender<Arc<Table>>,
    hall: Arc<Hall>,
    tls: TlsAcceptor,
    doors: Vec<Door>,
    /// Ports that could not be taken, as it was told.
    refused: Vec<u16>,
}

struct Keeper {
    gateway: Gateway,
    changed: Arc<Notify>,
    events: EventRecorder,
    world: Option<World>,
    open: Option<Open>,
    teller: Teller,
    /// Ends what is under way.
    hall: CancellationToken,
}

impl Keeper {
    /// Never ends by itself.
    async fn work(&mut self) {
        let Gateway { ingresses, classes, node, .. } = &self.gateway;
        tokio::join!(ingresses.synced(), classes.synced(), node.synced());
        loop {
            let again = self.round().await;
            let pause = async {
                match again {
                    Some(after) => sleep(after).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.changed.notified() => sleep(GATHER).await,
                () = pause => {}
            }
        }
    }

    /// Brings everything to what it should be; answers when to look again even if nothing changes.
    async fn round(&mut self) -> Option<Duration> {
        let classes = Classes::of(self.gateway.classes.list().iter().map(AsRef::as_ref));
        let mut ours = self.gateway.ingresses.list();
        ours.retain(|ingress| classes.serve(ingress));
        let mut again = None;
        if ours.is_empty() {
            self.world = None;
            if let Some(open) = self.open.take() {
                // Connections that are still there have nowhere to go either.
                open.table.send_replace(Arc::default());
                tracing::info!("there is no Ingress any more, the gateway is closed");
            }
        } else {
            let informers = &self.gateway.informers;
            let world = self.world.get_or_insert_with(|| World::watch(informers, &self.changed));
            world.follow(informers, &self.changed, table::secrets(&ours)).await;
            let table = table::table(&ours, world);
            again = self.tell(&ours, &table);
            again = sooner(again, self.serve(table).await);
        }
        sooner(again, self.announce().await)
    }

    /// Puts the table in force, and opens what is not open.
    async fn serve(&mut self, table: Table) -> Option<Duration> {
        let table = Arc::new(table);
        let open = match &mut self.open {
            Some(open) => {
                open.table.send_replace(table);
                open
            }
            None => match open(table, &self.hall) {
                Ok(open) => self.open.insert(open),
                Err(why) => {
                    tracing::error!(why, "the gateway cannot be opened");
                    return Some(RETRY);
                }
            },
        };
        open.doors.retain(Door::is_open);
        let config = &self.gateway.config;
        let mut failed = false;
        for (port, tls) in [(config.http_port, None), (config.https_port, Some(&open.tls))] {
            let Some(port) = port.filter(|port| open.doors.iter().all(|door| door.port != *port)) else { continue };
            match Door::open(SocketAddr::new(config.address, port), tls.cloned(), open.hall.clone()).await {
                Ok(door) => {
                    tracing::info!(port, "the gateway is open");
                    open.doors.push(door);
                    open.refused.retain(|refused| *refused != port);
                }
                Err(error) => {
                    failed = true;
                    if !open.refused.contains(&port) {
                        open.refused.push(port);
                        let why = refusal(config.address, port, &error);
                        tracing::warn!("{why}");
                        self.events.warning(&self.gateway.reference(), "GatewayPortTaken", why);
                    }
                }
            }
        }
        failed.then_some(RETRY)
    }

    /// Says on the node at which ports the gateway answers.
    async fn announce(&self) -> Option<Duration> {
        let wanted = self.open.as_ref().map(|open| {
            let mut ports: Vec<u16> = open.doors.iter().map(|door| door.port).collect();
            ports.sort_unstable();
            ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        });
        let wanted = wanted.filter(|ports| !ports.is_empty());
        let name = &self.gateway.config.node_name;
        let node = self.gateway.node.get("", name)?;
        if node.ports == wanted {
            return None;
        }
        let patch = serde_json::json!({ "metadata": { "annotations": { PORTS: wanted } } });
        let api = Api::<Node>::all(self.gateway.informers.client());
        let asked = async { api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await };
        match timeout(QUESTION, asked).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot say on the node where the gateway answers");
                Some(RETRY)
            }
            Err(_) => Some(RETRY),
        }
    }

    /// Tells what cannot be served, by events. Of several gateways the first in an Ingress' status speaks.
    fn tell(&mut self, ours: &[Arc<Ingress>], table: &Table) -> Option<Duration> {
        let node = self.gateway.node.get("", &self.gateway.config.node_name)?;
        let find =
            |problem: &Problem| ours.iter().find(|ingress| client::ObjectKey::of(&ingress.metadata) == problem.ingress);
        let is_ours = |problem: &&Problem| {
            let first = find(problem).and_then(|ingress| {
                ingress.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?.first()?.ip.clone()
            });
            first.is_some_and(|first| node.addresses.contains(&first))
        };
        let current = table.problems.iter().filter(is_ours).cloned().collect();
        let (due, again) = self.teller.due(&current, Instant::now());
        for problem in due {
            if let Some(ingress) = find(&problem) {
                self.events.warning(&client::reference(ingress.as_ref()), problem.reason, problem.message);
            }
        }
        again
    }

    /// Lets connections finish for a moment.
    async fn close(mut self) {
        self.hall.cancel();
        let Some(open) = self.open.take() else { return };
        let connections = open.hall.connections.clone();
        drop(open);
        connections.close();
        if timeout(FAREWELL, connections.wait()).await.is_err() {
            tracing::debug!("connections were still open at the end");
        }
    }
}

impl Gateway {
    /// The node, for events.
    fn reference(&self) -> ObjectReference {
        let name = &self.config.node_name;
        let uid = self.node.get("", name).and_then(|node| node.uid.clone());
        ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(name.clone()),
            uid,
            ..ObjectReference::default()
        }
    }
}

fn sooner(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

fn refusal(address: IpAddr, port: u16, error: &std::io::Error) -> String {
    let why = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another program has that port; stop it, or give the gateway another".to_owned()
        }
        _ => error.to_string(),
    };
    format!("the gateway cannot answer at port {port} of {address}, and Ingresses are not served there: {why}")
}

fn open(table: Arc<Table>, stopping: &CancellationToken) -> Result<Open, String> {
    let (sender, table) = watch::channel(table);
    let own = Arc::new(certificates::own()?);
    let tls = acceptor(table.clone(), own)?;
    // What is under way goes on when the doors close, but not when the gateway stops.
    let connections = TaskTracker::new();
    let hall = Hall {
        table,
        forwarder: Forwarder::new(connections.clone(), stopping.clone()),
        places: Arc::new(Semaphore::new(CONNECTIONS)),
        connections,
        stopping: stopping.clone(),
    };
    Ok(Open { table: sender, hall: Arc::new(hall), tls, doors: Vec::new(), refused: Vec::new() })
}

fn acceptor(table: watch::Receiver<Arc<Table>>, own: Arc<CertifiedKey>) -> Result<TlsAcceptor, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?.with_no_client_auth();
    let mut config = builder.with_cert_resolver(Arc::new(Resolver { table, own }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
