//! Listens to Nodes and to the kernel, and keeps the ways to other nodes open.

use std::sync::Arc;
use std::time::Duration;

use client::{Change, Informer, Informers, Selection};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;
use sys::netlink::{Changes, Netlink};
use sys::{Result, SysError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::apply;
use super::plan::{self, NodeAddresses, Ways};
use crate::names;

const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Keeps routes to the pods of other nodes.
pub struct Nodes {
    instance: String,
    node: String,
    cluster: Ipv4Net,
    nodes: Informer<Option<NodeAddresses>>,
    changed: Arc<Notify>,
}

impl Nodes {
    /// For the node called `node`; nothing runs yet.
    pub fn new(instance: &str, node: &str, cluster: Ipv4Net, informers: &Informers) -> Self {
        Self {
            instance: instance.to_owned(),
            node: node.to_owned(),
            cluster,
            nodes: informers.project::<Node, _>(Selection::default(), addresses),
            changed: Arc::new(Notify::new()),
        }
    }

    /// Works until `shutdown`. Routes stay: pods outlive this process.
    pub async fn run(self, shutdown: CancellationToken) {
        let changed = Arc::clone(&self.changed);
        // Heartbeats are no news.
        let _guard = self.nodes.on_change(move |change| match change {
            Change::Applied { old: Some(old), new, .. } if old == new => {}
            _ => changed.notify_one(),
        });
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&self) {
        self.nodes.synced().await;
        let mut pause = RETRY;
        loop {
            match self.follow(&mut pause).await {
                Ok(()) => tracing::warn!("the kernel tells no more of its routes; asking anew"),
                Err(error) => tracing::warn!(%error, "routes to other nodes could not be set"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// Returns when something failed, or when the kernel falls silent.
    async fn follow(&self, pause: &mut Duration) -> Result<()> {
        // Before the first look, so that nothing falls between the two.
        let mut kernel = Changes::here()?;
        let netlink = Netlink::here()?;
        let mut last = Ways::default();
        loop {
            let ways = self.ways(&netlink).await?;
            apply::apply(&netlink, &self.instance, &ways).await?;
            if ways != last {
                tracing::info!(direct = ways.direct.len(), tunnel = ways.tunnel.len(), "ways to other nodes");
                last = ways;
            }
            *pause = RETRY;
            tokio::select! {
                () = self.changed.notified() => {}
                more = kernel.next() => if !more { return Ok(()) },
            }
        }
    }

    async fn ways(&self, netlink: &Netlink) -> Result<Ways> {
        let own = [names::bridge(&self.instance), names::tunnel(&self.instance), "lo".to_owned()];
        let mut not_shared = Vec::new();
        for name in &own {
            not_shared.extend(netlink.index(name).await?);
        }
        let addresses = netlink.own_addresses().await?;
        let shared = addresses.iter().filter(|address| !not_shared.contains(&address.link));
        let links: std::result::Result<Vec<Ipv4Net>, _> =
            shared.map(|own| Ipv4Net::new(own.address, own.prefix).map(|net| net.trunc())).collect();
        let links = links.map_err(|e| SysError::new("read", "addresses", std::io::Error::other(e)))?;
        let nodes: Vec<NodeAddresses> = self.nodes.list().iter().filter_map(|node| (**node).clone()).collect();
        Ok(plan::ways(&self.node, &nodes, &links, self.cluster))
    }
}

/// What a Node says of itself; none while it lacks a range or an address.
fn addresses(node: Node) -> Option<NodeAddresses> {
    let spec = node.spec?;
    let ranges = spec.pod_cidrs.unwrap_or_default().into_iter().chain(spec.pod_cidr);
    let range = ranges.filter_map(|range| range.parse::<Ipv4Net>().ok()).next()?.trunc();
    let addresses = node.status?.addresses?;
    let internal = addresses.iter().filter(|address| address.type_ == "InternalIP");
    let address = internal.filter_map(|address| address.address.parse().ok()).next()?;
    Some(NodeAddresses { name: node.metadata.name?, range, address })
}
