//! Which endpoints of a service port are used, and from where. Pure.
//!
//! As upstream's proxies choose (KEP-1669 for endpoints that end, KEP-4444 for those that are near).

use std::net::Ipv4Addr;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::{Place, protocol};

/// One place to send connections to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub address: Ipv4Addr,
    pub port: u16,
}

/// The endpoints of one service port, by who may use them.
#[derive(Debug, Default)]
pub(super) struct Targets {
    /// For traffic that may go anywhere: near ones alone, where the hints say so.
    pub cluster: Vec<Target>,
    /// Those on this node.
    pub local: Vec<Target>,
    /// How many on this node take new connections: balancers are told, so that they turn away before the last one ends.
    pub local_ready: usize,
}

type Candidate<'a> = (Target, &'a Endpoint);

/// The endpoints to use: those that are ready, or, when none is, those that still serve while they end.
pub(super) fn targets(slices: &[Arc<EndpointSlice>], name: &str, wanted: &str, place: &Place) -> Targets {
    let all = candidates(slices, name, wanted);
    let is_local = |endpoint: &Endpoint| endpoint.node_name.as_deref() == Some(place.node.as_str());
    let local: Vec<Candidate<'_>> = all.iter().filter(|(_, endpoint)| is_local(endpoint)).copied().collect();
    let near = nearest(&all, place);
    let mut cluster = addresses(&all, |endpoint| is_ready(endpoint) && near.allows(endpoint));
    if cluster.is_empty() {
        cluster = usable(&all);
    }
    Targets { cluster, local_ready: addresses(&local, is_ready).len(), local: usable(&local) }
}

fn candidates<'a>(slices: &'a [Arc<EndpointSlice>], name: &str, wanted: &str) -> Vec<Candidate<'a>> {
    let mut all = Vec::new();
    for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
        let ports = slice.ports.iter().flatten();
        let mut fitting = ports.filter(|port| {
            port.name.as_deref().unwrap_or_default() == name && protocol(port.protocol.as_deref()) == Some(wanted)
        });
        let number = fitting.find_map(|port| port.port).and_then(|port| u16::try_from(port).ok());
        let Some(port) = number else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let address = endpoint.addresses.first().and_then(|address| address.parse().ok());
            all.extend(address.map(|address| (Target { address, port }, endpoint)));
        }
    }
    all
}

fn usable(all: &[Candidate<'_>]) -> Vec<Target> {
    let ready = addresses(all, is_ready);
    if ready.is_empty() { addresses(all, serves_while_ending) } else { ready }
}

fn addresses(all: &[Candidate<'_>], fits: impl Fn(&Endpoint) -> bool) -> Vec<Target> {
    let mut chosen: Vec<Target> = all.iter().filter(|(_, e)| fits(e)).map(|(target, _)| *target).collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

fn serves_while_ending(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    conditions.serving.unwrap_or(true) && conditions.terminating.unwrap_or(false)
}

/// How far connections may go.
enum Near<'a> {
    Node(&'a str),
    Zone(&'a str),
    Anywhere,
}

impl Near<'_> {
    fn allows(&self, endpoint: &Endpoint) -> bool {
        let Some(hints) = &endpoint.hints else { return matches!(self, Self::Anywhere) };
        match self {
            Self::Node(node) => hints.for_nodes.iter().flatten().any(|hint| hint.name == *node),
            Self::Zone(zone) => hints.for_zones.iter().flatten().any(|hint| hint.name == *zone),
            Self::Anywhere => true,
        }
    }
}

/// Hints count only when every ready endpoint has them and one of them is for here.
fn nearest<'a>(all: &[Candidate<'_>], place: &'a Place) -> Near<'a> {
    let ready: Vec<&Endpoint> = all.iter().map(|(_, endpoint)| *endpoint).filter(|e| is_ready(e)).collect();
    let hinted = |has: fn(&Endpoint) -> bool| !ready.is_empty() && ready.iter().all(|endpoint| has(endpoint));
    let by_node = hinted(|e| e.hints.as_ref().is_some_and(|h| h.for_nodes.as_ref().is_some_and(|n| !n.is_empty())));
    let node = Near::Node(&place.node);
    if by_node && ready.iter().any(|endpoint| node.allows(endpoint)) {
        return node;
    }
    let by_zone = hinted(|e| e.hints.as_ref().is_some_and(|h| h.for_zones.as_ref().is_some_and(|z| !z.is_empty())));
    let Some(zone) = place.zone.as_deref().filter(|_| by_zone).map(Near::Zone) else { return Near::Anywhere };
    if ready.iter().any(|endpoint| zone.allows(endpoint)) { zone } else { Near::Anywhere }
}
