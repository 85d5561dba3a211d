//! Which service gets which nodes. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use client::ObjectKey;
use k8s_openapi::api::core::v1::{Node, Service};

/// The class that this balancer goes by; a service without a class is its as well.
pub(super) const CLASS: &str = "oxikube/servicelb";
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// A port of a node, by protocol.
pub(crate) type Door = (IpAddr, &'static str, u16);

/// A node that may lend its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    pub name: String,
    pub address: IpAddr,
}

/// A service that wants addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asker {
    pub key: ObjectKey,
    pub doors: Vec<(&'static str, u16)>,
    /// Addresses that it has.
    pub has: BTreeSet<IpAddr>,
    /// Nodes that will do; none for all.
    pub nodes: Option<BTreeSet<String>>,
    /// The one address that it asks for.
    pub only: Option<IpAddr>,
}

/// What a service gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub addresses: Vec<IpAddr>,
    /// Why it gets none.
    pub pending: Option<String>,
}

/// The service is ours to serve.
pub(super) fn is_ours(service: &Service) -> bool {
    let Some(spec) = &service.spec else { return false };
    let class = spec.load_balancer_class.as_deref();
    spec.type_.as_deref() == Some("LoadBalancer")
        && class.is_none_or(|class| class == CLASS)
        && service.metadata.deletion_timestamp.is_none()
}

/// Only nodes with endpoints are to get connections.
pub(super) fn is_local(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.external_traffic_policy.as_deref()) == Some("Local")
}

/// A node that is up, with an address: the outer one if it has one.
pub(crate) fn host(node: &Node) -> Option<Host> {
    let is_excluded = node.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(EXCLUDED));
    let status = node.status.as_ref().filter(|_| !is_excluded)?;
    let mut conditions = status.conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == "Ready" && condition.status == "True")?;
    let of = |kind: &str| {
        let mut addresses = status.addresses.iter().flatten().filter(|address| address.type_ == kind);
        addresses.find_map(|address| address.address.parse().ok().filter(IpAddr::is_ipv4))
    };
    Some(Host { name: node.metadata.name.clone()?, address: of("ExternalIP").or_else(|| of("InternalIP"))? })
}

pub(super) fn asker(service: &Service, nodes: Option<BTreeSet<String>>) -> Asker {
    let only = service.spec.as_ref().and_then(|spec| spec.load_balancer_ip.as_deref());
    Asker {
        key: ObjectKey::of(&service.metadata),
        doors: ports(service),
        has: addresses(service).into_iter().collect(),
        nodes,
        only: only.and_then(|ip| ip.parse().ok()),
    }
}

fn ports(service: &Service) -> Vec<(&'static str, u16)> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let port = |port: &k8s_openapi::api::core::v1::ServicePort| {
        let protocol = match port.protocol.as_deref() {
            None | Some("TCP") => "TCP",
            Some("UDP") => "UDP",
            Some("SCTP") => "SCTP",
            Some(_) => return None,
        };
        Some((protocol, u16::try_from(port.port).ok()?))
    };
    ports.filter_map(port).collect()
}

/// The ports that a service has at nodes.
pub(crate) fn doors(service: &Service) -> Vec<Door> {
    let addresses = if is_ours(service) { addresses(service) } else { Vec::new() };
    let ports = ports(service);
    let at = |address| ports.iter().map(move |(protocol, port)| (address, *protocol, *port));
    addresses.into_iter().flat_map(at).collect()
}

/// The addresses in a service's status.
pub(super) fn addresses(service: &Service) -> Vec<IpAddr> {
    let balancer = service.status.iter().filter_map(|status| status.load_balancer.as_ref());
    let ingress = balancer.flat_map(|balancer| balancer.ingress.iter().flatten());
    ingress.filter_map(|ingress| ingress.ip.as_ref()?.parse().ok()).collect()
}

/// Shares the nodes out: first one node to each service, the oldest first and each where it is already; then what is
/// left, so that a service is at all nodes as long as nobody else wants its ports. `taken` are doors that belong to
/// somebody else, with their names.
pub(super) fn share(askers: &[Asker], hosts: &[Host], taken: &BTreeMap<Door, String>) -> BTreeMap<ObjectKey, Share> {
    let mut held: BTreeMap<Door, String> = taken.clone();
    let mut shares: BTreeMap<ObjectKey, Share> = BTreeMap::new();
    for asker in askers {
        let mut choices: Vec<&Host> = asker.candidates(hosts).collect();
        choices.sort_by_key(|host| !asker.has.contains(&host.address));
        let free = choices.iter().find(|host| asker.obstacle(host, &held).is_none());
        let share = shares.entry(asker.key.clone()).or_default();
        match free {
            Some(host) => asker.take(host, &mut held, share),
            None => share.pending = Some(asker.why(&choices, &held)),
        }
    }
    for asker in askers {
        let Some(share) = shares.get_mut(&asker.key).filter(|share| share.pending.is_none()) else { continue };
        for host in asker.candidates(hosts) {
            if asker.obstacle(host, &held).is_none() {
                asker.take(host, &mut held, share);
            }
        }
        share.addresses.sort_unstable();
    }
    shares
}

impl Asker {
    fn candidates<'a>(&'a self, hosts: &'a [Host]) -> impl Iterator<Item = &'a Host> {
        let fits = |host: &&Host| {
            self.nodes.as_ref().is_none_or(|nodes| nodes.contains(&host.name))
                && self.only.is_none_or(|only| only == host.address)
        };
        hosts.iter().filter(fits)
    }

    /// The first of its ports that somebody has at this node.
    fn obstacle(&self, host: &Host, held: &BTreeMap<Door, String>) -> Option<(Door, String)> {
        let mut doors = self.doors.iter().map(|(protocol, port)| (host.address, *protocol, *port));
        doors.find_map(|door| held.get(&door).map(|who| (door, who.clone())))
    }

    fn take(&self, host: &Host, held: &mut BTreeMap<Door, String>, share: &mut Share) {
        for (protocol, port) in &self.doors {
            held.insert((host.address, protocol, *port), format!("service {}", self.key));
        }
        share.addresses.push(host.address);
    }

    fn why(&self, choices: &[&Host], held: &BTreeMap<Door, String>) -> String {
        if choices.is_empty() {
            return match (&self.only, &self.nodes) {
                (Some(address), _) => {
                    format!("no ready node has the address {address} that spec.loadBalancerIP asks for")
                }
                (None, Some(_)) => "no ready node has an endpoint, and externalTrafficPolicy is Local".to_owned(),
                (None, None) => "no node is ready to lend its address".to_owned(),
            };
        }
        let obstacles = choices.iter().filter_map(|host| {
            let ((_, protocol, port), who) = self.obstacle(host, held)?;
            Some(format!("port {port}/{protocol} of node {} belongs to {who}", host.name))
        });
        let obstacles: Vec<String> = obstacles.take(3).collect();
        let more = choices.len().saturating_sub(obstacles.len());
        let rest = if more == 0 { String::new() } else { format!(", and so at {more} more nodes") };
        format!("no node has its ports free: {}{rest}", obstacles.join(", "))
    }
}
