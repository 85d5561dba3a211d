//! Watches services and endpoints, and keeps the kernel's table in step.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use client::{Informer, Informers};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use sys::nft::{Kernel, Ruleset};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::rules::{self, Place};
use crate::table::{self, Table};

/// Changes within this time go into one transaction.
const GATHER: Duration = Duration::from_millis(5);
/// After a transaction that failed in full, the next attempt waits, longer each time.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
const BY_SERVICE: &str = "service";

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
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    sync: Sync<R>,
}

/// Keeps one table in step with what is wanted.
pub(crate) struct Sync<R> {
    ruleset: R,
    name: String,
    place: Place,
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
        let slices = informers.get::<EndpointSlice>();
        slices.add_index(BY_SERVICE, service_of);
        Self { services: informers.get(), slices, sync: Sync::new(ruleset, &config) }
    }

    /// Runs until `shutdown`; the rules stay, so that connections go on.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let changed = Arc::new(Notify::new());
        let (on_service, on_slice) = (changed.clone(), changed.clone());
        let _services = self.services.on_change(move |_| on_service.notify_one());
        let _slices = self.slices.on_change(move |_| on_slice.notify_one());
        let work = async {
            tokio::join!(self.services.synced(), self.slices.synced());
            let mut wait = RETRY.0;
            loop {
                let wanted = self.wanted();
                let start = Instant::now();
                match self.sync.apply(wanted).await {
                    Ok(()) => {
                        wait = RETRY.0;
                        tracing::debug!(took = ?start.elapsed(), "service rules are in step");
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
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = work => {}
        }
    }

    fn wanted(&self) -> Table {
        let services = self.services.list();
        let slices = |namespace: &str, name: &str| self.slices.by_index(BY_SERVICE, &format!("{namespace}/{name}"));
        rules::table(services.iter().map(AsRef::as_ref), slices, &self.sync.place)
    }
}

impl<R: Ruleset> Sync<R> {
    pub(crate) fn new(ruleset: R, config: &Config) -> Self {
        let place = Place {
            node: config.node_name.clone(),
            cluster_cidr: config.cluster_cidr,
            answered_here: config.answered_here.clone(),
        };
        Self { ruleset, name: table_name(&config.instance), place, applied: None }
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
                Err(error) => tracing::warn!(%error, "a change of service rules failed: rebuilding them"),
            }
        }
        self.applied = None;
        self.ruleset.apply(wanted.rebuild(&self.name)).await?;
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
        let config =
            Config { instance: "a-b".into(), node_name: "n".into(), cluster_cidr: None, answered_here: Vec::new() };
        (recording.clone(), Sync::new(recording, &config))
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
