//! Watches policies, and what they speak of as long as there are any; keeps the kernel's table in step.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Change, HandlerGuard, Informer, Informers, Selection};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use sys::nft::Ruleset;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::policies::{self, Labels, PodEntry, View};
use crate::run::{Config, GATHER};
use crate::sync::Sync;
use crate::table::Table;

/// The policies of one node's pods.
pub(crate) struct Enforcer<R> {
    config: Config,
    informers: Informers,
    node: Informer<Node>,
    policies: Informer<NetworkPolicy>,
    sync: Sync<R>,
}

/// Pods and namespaces of the cluster: watched only while a policy may speak of them.
struct Peers {
    pods: Informer<PodEntry>,
    namespaces: Informer<(String, Labels)>,
    _guards: (HandlerGuard<PodEntry>, HandlerGuard<(String, Labels)>),
}

impl Peers {
    async fn watch(informers: &Informers, changed: &Arc<Notify>) -> Self {
        let pods = informers.project::<Pod, _>(Selection::default(), policies::pod_entry);
        let namespaces = informers.project::<Namespace, _>(Selection::default(), policies::namespace_entry);
        let (on_pod, on_namespace) = (changed.clone(), changed.clone());
        // Most of what happens to a pod is nothing to policies.
        let of_pod = pods.on_change(move |change| match change {
            Change::Applied { old: Some(old), new, .. } if old == new => {}
            _ => on_pod.notify_one(),
        });
        let of_namespace = namespaces.on_change(move |_| on_namespace.notify_one());
        tokio::join!(pods.synced(), namespaces.synced());
        Self { pods, namespaces, _guards: (of_pod, of_namespace) }
    }
}

impl<R: Ruleset> Enforcer<R> {
    pub(crate) fn new(config: Config, informers: &Informers, node: Informer<Node>, sync: Sync<R>) -> Self {
        Self { config, informers: informers.clone(), node, policies: informers.get(), sync }
    }

    /// Never ends by itself.
    pub(crate) async fn run(mut self) {
        if let Some(pods) = self.config.cluster_cidr
            && let Err(error) = self.sync.begin(|name| policies::closed(name, pods)).await
        {
            tracing::debug!(%error, "the rules of policies are there already");
        }
        let changed = Arc::new(Notify::new());
        let (on_policy, on_node) = (changed.clone(), changed.clone());
        let _policies = self.policies.on_change(move |_| on_policy.notify_one());
        let _node = self.node.on_change(move |change| match change {
            Change::Applied { old: Some(old), new, .. } if range_of(old) == range_of(new) => {}
            _ => on_node.notify_one(),
        });
        tokio::join!(self.policies.synced(), self.node.synced());
        let mut peers = None;
        loop {
            if self.policies.is_empty() {
                peers = None;
            } else if peers.is_none() {
                peers = Some(Peers::watch(&self.informers, &changed).await);
            }
            let wanted = self.wanted(peers.as_ref());
            if self.sync.attempt(wanted).await {
                changed.notified().await;
                sleep(GATHER).await;
            }
        }
    }

    fn wanted(&self, peers: Option<&Peers>) -> Table {
        let Some(peers) = peers else { return Table::default() };
        let entries = peers.namespaces.list();
        let namespaces: BTreeMap<String, Arc<Labels>> =
            entries.iter().map(|entry| (entry.0.clone(), Arc::new(entry.1.clone()))).collect();
        let node = self.config.node_name.as_str();
        let range = self.node.get("", node).as_deref().and_then(range_of);
        let pods = peers.pods.list();
        policies::table(&self.policies.list(), &View { pods: &pods, namespaces: &namespaces, node, range })
    }
}

/// Where the node's pods have their addresses.
fn range_of(node: &Node) -> Option<Ipv4Net> {
    let spec = node.spec.as_ref()?;
    let ranges = spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr);
    ranges.filter_map(|range| range.parse().ok()).next()
}
