//! Watches services and endpoints, and keeps the kernel's table in step.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use client::{Informer, Informers, Selection};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use sys::nft::{Kernel, Ruleset};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::flows::{self, Fronts};
use crate::health;
use crate::rules::{self, Place, Wanted};
use crate::table::{self, Table};

/// Changes within this time go into one transaction.
const GATHER: Duration = Duration::from_millis(5);
/// After a transaction that failed in full, the next attempt waits, longer each time.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
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
    config: Config,
    node: Informer<Node>,
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    sync: Sync<R>,
}

/// Keeps one table in step with what is wanted.
pub(crate) struct Sync<R> {
    ruleset: R,
    name: String,
    frame: fn(&str) -> String,
    /// What the kernel has; none when that is not known.
    applied: Option<Table>,
}

impl Proxy<Kernel> {
    /// Over the kernel's own rules.
    pub fn build(config: Config, informers: &Informers) -> Self {
        Self::over(Kernel, config, informers)
    }
}

impl<R: Ruleset> Proxy<R> {
    /// Over other rules.
    pub fn over(ruleset: R, config: Config, informers: &Informers) -> Self {
        let slices = informers.select::<EndpointSlice>(Selection::labels(OURS));
        slices.add_index(BY_SERVICE, service_of);
        let services = informers.select::<Service>(Selection::labels(OURS));
        let node = informers.select::<Node>(Selection::fields(format!("metadata.name={}", config.node_name)));
        let sync = Sync::new(ruleset, table_name(&config.instance), rules::frame);
        Self { config, node, services, slices, sync }
    }

    /// Runs until `shutdown`; the rules stay, so that connections go on.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let (health, answers) = watch::channel(Arc::default());
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.keep_up(&health) => {}
            () = health::serve(answers) => {}
        }
    }

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
        let (mut wait, mut fronts) = (RETRY.0, Arc::<Fronts>::default());
        loop {
            let wanted = self.wanted();
            let start = Instant::now();
            health.send_if_modified(|served| {
                let differs = **served != wanted.health;
                *served = Arc::new(wanted.health);
                differs
            });
            match self.sync.apply(wanted.table).await {
                Ok(()) => {
                    wait = RETRY.0;
                    tracing::debug!(took = ?start.elapsed(), "service rules are in step");
                    let (old, new) = (fronts, Arc::new(wanted.fronts));
                    if flows::may_be_stale(&old, &new) {
                        flows::forget_stale(old, new.clone()).await;
                    }
                    fronts = new;
                    changed.notified().await;
                    sleep(GATHER).await;
                }
                Err(error) => {
                    tracing::error!(%error, retry_in = ?wait, "service rules cannot be applied");
                    sleep(wait).await;
                    wait = (wait * 2).min(RETRY.1);
                }
            }
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

impl<R: Ruleset> Sync<R> {
    pub(crate) fn new(ruleset: R, name: String, frame: fn(&str) -> String) -> Self {
        Self { ruleset, name, frame, applied: None }
    }

    /// Applies the difference; when that fails, or nothing is known yet, everything.
    pub(crate) async fn apply(&mut self, wanted: Table) -> sys::Result<()> {
        if let Some(applied) = &self.applied {
            let script = wanted.change_from(applied, &self.name);
            if script.is_empty() {
                return Ok(());
            }
            match self.ruleset.apply(script).await {
                Ok(()) => {
                    self.applied = Some(wanted);
                    return Ok(());
                }
                Err(error) => tracing::warn!(%error, "a change of rules failed: rebuilding them"),
            }
        }
        self.applied = None;
        self.ruleset.apply(wanted.rebuild(self.frame, &self.name)).await?;
        self.applied = Some(wanted);
        Ok(())
    }
}

/// Removes the rules of an instance.
pub async fn teardown(instance: &str) -> sys::Result<()> {
    Kernel.apply(table::removal(&table_name(instance))).await
}

fn table_name(instance: &str) -> String {
    let name: String = instance.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("{name}_proxy")
}

fn service_of(slice: &EndpointSlice) -> Vec<String> {
    let name = slice.metadata.labels.as_ref().and_then(|labels| labels.get("kubernetes.io/service-name"));
    let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
    name.map(|name| format!("{namespace}/{name}")).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use sys::nft::Recording;

    use super::*;

    fn sync() -> (Arc<Recording>, Sync<Arc<Recording>>) {
        let recording = Arc::new(Recording::default());
        (recording.clone(), Sync::new(recording, table_name("a-b"), rules::frame))
    }

    fn table(chain: &str) -> Table {
        let mut table = Table::default();
        table.chain(chain, vec!["accept".into()]);
        table
    }

    #[tokio::test]
    async fn first_everything_then_differences() {
        let (recording, mut sync) = sync();
        sync.apply(table("a")).await.unwrap();
        sync.apply(table("a")).await.unwrap();
        sync.apply(table("b")).await.unwrap();
        let scripts = recording.scripts();
        assert_eq!(scripts.len(), 2);
        assert!(scripts[0].starts_with("add table ip a_b_proxy\ndelete table ip a_b_proxy\n"));
        assert!(!scripts[1].contains("delete table"));
    }

    #[tokio::test]
    async fn a_failed_difference_is_rebuilt_in_full() {
        let (recording, mut sync) = sync();
        sync.apply(table("a")).await.unwrap();
        recording.refuse(1);
        sync.apply(table("b")).await.unwrap();
        assert!(recording.scripts()[1].contains("delete table ip a_b_proxy"));
        recording.refuse(2);
        assert!(sync.apply(table("c")).await.is_err());
        sync.apply(table("c")).await.unwrap();
        assert!(recording.scripts()[2].contains("delete table"));
    }
}
