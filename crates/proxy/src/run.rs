//! Watches services and endpoints, and keeps the kernel's table in step. Policies are [`crate::enforce`]'s.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use client::{Informer, Informers, Selection};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use sys::nft::{Kernel, Ruleset};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::enforce::Enforcer;
use crate::flows::{self, Fronts};
use crate::health;
use crate::rules::{self, Place, Wanted};
use crate::sync::Sync;
use crate::{policies, table};

/// Changes within this time go into one transaction.
pub(crate) const GATHER: Duration = Duration::from_millis(5);
const BY_SERVICE: &str = "service";
/// Services of other proxies and headless ones are not even watched.
const OURS: &str = "!service.kubernetes.io/service-proxy-name,!service.kubernetes.io/headless";
const ZONE: &str = "topology.kubernetes.io/zone";

/// How the proxy is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the instance: the table is named after it.
    pub instance: String,
    /// Name of this node.
    pub node_name: String,
    /// Addresses of pods: what comes from elsewhere to a cluster address is masqueraded.
    pub cluster_cidr: Option<Ipv4Net>,
    /// Cluster addresses that this node answers at itself, as its resolver does, as long as their service has no
    /// endpoints: nothing is refused there.
    pub answered_here: Vec<Ipv4Addr>,
}

/// The proxy of one node.
pub struct Proxy<R = Kernel> {
    services: Services<R>,
    policies: Enforcer<R>,
}

impl Proxy<Kernel> {
    /// Over the kernel's own rules.
    pub fn build(config: Config, informers: &Informers) -> Self {
        Self::over(Kernel, config, informers)
    }
}

impl<R: Ruleset + Clone> Proxy<R> {
    /// Over other rules.
    pub fn over(ruleset: R, config: Config, informers: &Informers) -> Self {
        let slices = informers.select::<EndpointSlice>(Selection::labels(OURS));
        slices.add_index(BY_SERVICE, service_of);
        let services = informers.select::<Service>(Selection::labels(OURS));
        let node = informers.select::<Node>(Selection::fields(format!("metadata.name={}", config.node_name)));
        let policies = Sync::new(ruleset.clone(), policies_table(&config.instance), policies::frame);
        let policies = Enforcer::new(config.clone(), informers, node.clone(), policies);
        let sync = Sync::new(ruleset, services_table(&config.instance), rules::frame);
        Self { services: Services { config, node, services, slices, sync }, policies }
    }

    /// Runs until `shutdown`; the rules stay, so that connections go on.
    pub async fn run(self, shutdown: CancellationToken) {
        let (health, answers) = watch::channel(Arc::default());
        let Self { mut services, policies } = self;
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = services.keep_up(&health) => {}
            () = health::serve(answers) => {}
            () = policies.run() => {}
        }
    }
}

/// The half that is about services.
struct Services<R> {
    config: Config,
    node: Informer<Node>,
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    sync: Sync<R>,
}

impl<R: Ruleset> Services<R> {
    async fn keep_up(&mut self, health: &watch::Sender<Arc<std::collections::BTreeMap<u16, rules::Health>>>) {
        let changed = Arc::new(Notify::new());
        let (on_service, on_slice, on_node) = (changed.clone(), changed.clone(), changed.clone());
        let _services = self.services.on_change(move |_| on_service.notify_one());
        let _slices = self.slices.on_change(move |_| on_slice.notify_one());
        let _node = self.node.on_change(move |change| {
            if moves(change) {
                on_node.notify_one();
            }
        });
        tokio::join!(self.services.synced(), self.slices.synced(), self.node.synced());
        let mut fronts = Arc::<Fronts>::default();
        loop {
            let wanted = self.wanted();
            health.send_if_modified(|served| {
                let differs = **served != wanted.health;
                *served = Arc::new(wanted.health);
                differs
            });
            if !self.sync.attempt(wanted.table).await {
                continue;
            }
            let (old, new) = (fronts, Arc::new(wanted.fronts));
            if flows::may_be_stale(&old, &new) {
                flows::forget_stale(old, new.clone()).await;
            }
            fronts = new;
            changed.notified().await;
            sleep(GATHER).await;
        }
    }

    fn wanted(&self) -> Wanted {
        let services = self.services.list();
        let slices = |namespace: &str, name: &str| self.slices.by_index(BY_SERVICE, &format!("{namespace}/{name}"));
        let place = Place {
            zone: self.node.get("", &self.config.node_name).as_deref().and_then(zone_of),
            node: self.config.node_name.clone(),
            cluster_cidr: self.config.cluster_cidr,
            answered_here: self.config.answered_here.clone(),
        };
        rules::table(services.iter().map(AsRef::as_ref), slices, &place)
    }
}

/// A node's heartbeats change nothing for services.
fn moves(change: &client::Change<Node>) -> bool {
    match change {
        client::Change::Applied { old: Some(old), new, .. } => zone_of(old) != zone_of(new),
        _ => true,
    }
}

fn zone_of(node: &Node) -> Option<String> {
    node.metadata.labels.as_ref()?.get(ZONE).cloned()
}

/// Removes the rules of an instance.
pub async fn teardown(instance: &str) -> sys::Result<()> {
    Kernel.apply(table::removal(&services_table(instance))).await?;
    Kernel.apply(table::removal(&policies_table(instance))).await
}

fn services_table(instance: &str) -> String {
    format!("{}_proxy", identifier(instance))
}

fn policies_table(instance: &str) -> String {
    format!("{}_policies", identifier(instance))
}

/// An instance's name as nft takes it.
fn identifier(instance: &str) -> String {
    instance.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn service_of(slice: &EndpointSlice) -> Vec<String> {
    let name = slice.metadata.labels.as_ref().and_then(|labels| labels.get("kubernetes.io/service-name"));
    let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
    name.map(|name| format!("{namespace}/{name}")).into_iter().collect()
}
