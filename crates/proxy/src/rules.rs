//! What services mean on this node. Pure: objects in, wanted rules out.

mod frame;
mod targets;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod traffic;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use client::ObjectKey;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::flows::{Front, Fronts};
use crate::table::Table;
pub(crate) use frame::frame;
pub(crate) use targets::Target;
use targets::{Targets, targets};

/// Where this node is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub node: String,
    /// The node's zone.
    pub zone: Option<String>,
    /// Addresses of pods: what comes from elsewhere to a cluster address is masqueraded.
    pub cluster_cidr: Option<Ipv4Net>,
    /// Cluster addresses that this node answers at itself as long as their service has no endpoints.
    pub answered_here: Vec<Ipv4Addr>,
}

/// What this node does for services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub table: Table,
    /// Where UDP goes: flows that go elsewhere are to be forgotten.
    pub fronts: Fronts,
    /// Ports on which a balancer asks whether this node has endpoints.
    pub health: BTreeMap<u16, Health>,
}

/// What is answered on a health port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Health {
    pub service: ObjectKey,
    pub local_endpoints: usize,
}

/// One port of one service.
struct Port<'a> {
    service: &'a Service,
    /// `NAMESPACE/NAME/PROTOCOL/PORTNAME`: part of chain names.
    id: String,
    protocol: &'static str,
    number: u16,
    node_port: Option<u16>,
    targets: Targets,
    place: &'a Place,
}

/// The rules for all services. `slices` are those of each service, by namespace and name.
pub(crate) fn table<'a>(
    services: impl IntoIterator<Item = &'a Service>,
    slices: impl Fn(&str, &str) -> Vec<Arc<EndpointSlice>>,
    place: &Place,
) -> Wanted {
    let mut wanted = Wanted::default();
    for service in services.into_iter().filter(|service| is_proxied(service)) {
        let (namespace, name) = (text(service.metadata.namespace.as_ref()), text(service.metadata.name.as_ref()));
        let slices = slices(namespace, name);
        let mut local = 0;
        for port in service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()) {
            if let Some(port) = port_of(service, port, &slices, place) {
                port.add(&mut wanted);
                local = local.max(port.targets.local_ready);
            }
        }
        let service_key = ObjectKey::of(&service.metadata);
        let health = health_port(service).map(|port| (port, Health { service: service_key, local_endpoints: local }));
        wanted.health.extend(health);
    }
    wanted
}

/// Balancers ask there which nodes have endpoints, when only those are to get connections.
fn health_port(service: &Service) -> Option<u16> {
    let spec = service.spec.as_ref().filter(|spec| spec.external_traffic_policy.as_deref() == Some("Local"))?;
    let port = spec.health_check_node_port.filter(|_| spec.type_.as_deref() == Some("LoadBalancer"))?;
    u16::try_from(port).ok().filter(|port| *port > 0)
}

fn text(value: Option<&String>) -> &str {
    value.map_or("", String::as_str)
}

/// Headless services have no address, names elsewhere are the resolver's, and some belong to another proxy.
fn is_proxied(service: &Service) -> bool {
    let foreign = |labels: &BTreeMap<String, String>| {
        ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"]
            .iter()
            .any(|label| labels.contains_key(*label))
    };
    let Some(spec) = &service.spec else { return false };
    spec.type_.as_deref() != Some("ExternalName")
        && spec.cluster_ip.as_deref().is_some_and(|ip| !ip.is_empty() && ip != "None")
        && !service.metadata.labels.as_ref().is_some_and(foreign)
}

pub(crate) fn protocol(name: Option<&str>) -> Option<&'static str> {
    match name.unwrap_or("TCP") {
        "TCP" => Some("tcp"),
        "UDP" => Some("udp"),
        "SCTP" => Some("sctp"),
        _ => None,
    }
}

fn port_of<'a>(
    service: &'a Service,
    port: &ServicePort,
    slices: &[Arc<EndpointSlice>],
    place: &'a Place,
) -> Option<Port<'a>> {
    let protocol = protocol(port.protocol.as_deref())?;
    let (namespace, name) = (text(service.metadata.namespace.as_ref()), text(service.metadata.name.as_ref()));
    let port_name = port.name.as_deref().unwrap_or_default();
    Some(Port {
        service,
        id: format!("{namespace}/{name}/{protocol}/{port_name}"),
        protocol,
        number: u16::try_from(port.port).ok()?,
        node_port: port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0),
        targets: targets(slices, port_name, protocol, place),
        place,
    })
}

impl Port<'_> {
    fn add(&self, wanted: &mut Wanted) {
        self.add_inside(wanted);
        self.add_external(wanted);
    }

    fn add_inside(&self, wanted: &mut Wanted) {
        let Some(spec) = &self.service.spec else { return };
        let internal_local = spec.internal_traffic_policy.as_deref() == Some("Local");
        let inside = if internal_local { &self.targets.local } else { &self.targets.cluster };
        for Target { address, .. } in self.targets.local.iter().chain(&self.targets.cluster) {
            wanted.table.set("hairpin", format!("{address} . {address}"));
        }
        let service_chain = format!("service/{}", self.id);
        if !inside.is_empty() {
            self.balance(&mut wanted.table, &service_chain, inside, self.place.cluster_cidr.map(outside));
        }
        let cluster_ips = spec.cluster_ips.clone().unwrap_or_else(|| spec.cluster_ip.clone().into_iter().collect());
        for address in cluster_ips.iter().filter_map(|ip| ip.parse::<Ipv4Addr>().ok()) {
            if self.targets.cluster.is_empty() && self.place.answered_here.contains(&address) {
                continue;
            }
            wanted.table.set("cluster_ips", address.to_string());
            let unreachable = if self.targets.cluster.is_empty() { Refusal::Reject } else { Refusal::Drop };
            self.front(&mut wanted.table, address, inside, &service_chain, unreachable);
            self.watch_flows(wanted, Some(address), self.number);
        }
    }

    /// UDP flows that come to this address are to go to the endpoints of now.
    fn watch_flows(&self, wanted: &mut Wanted, address: Option<Ipv4Addr>, port: u16) {
        if self.protocol == "udp" {
            let targets = self.targets.cluster.iter().chain(&self.targets.local).copied().collect();
            wanted.fronts.insert(Front { address, port }, targets);
        }
    }

    fn add_external(&self, wanted: &mut Wanted) {
        let Some(spec) = &self.service.spec else { return };
        let (given, balanced) = (self.external_ips(), self.balancer_ips());
        if given.is_empty() && balanced.is_empty() && self.node_port.is_none() {
            return;
        }
        let only_local = spec.external_traffic_policy.as_deref() == Some("Local");
        let chain = format!("external/{}", self.id);
        let usable = if only_local { &self.targets.local } else { &self.targets.cluster };
        let nowhere = self.targets.cluster.is_empty();
        if !nowhere {
            self.external_chain(&mut wanted.table, &chain, only_local, usable);
        }
        let refusal = if nowhere { Refusal::Reject } else { Refusal::Drop };
        for address in given.iter().chain(&balanced) {
            self.front(&mut wanted.table, *address, &self.targets.cluster, &chain, refusal);
            self.watch_flows(wanted, Some(*address), self.number);
        }
        self.firewall(&mut wanted.table, &balanced);
        if let Some(port) = self.node_port {
            let key = format!("{} . {port}", self.protocol);
            if nowhere {
                wanted.table.set("nodeports_reject", key);
            } else {
                wanted.table.map("nodeports", key, format!("goto {chain}"));
            }
            self.watch_flows(wanted, None, port);
        }
    }

    /// A balancer's address may be for some clients only.
    fn firewall(&self, table: &mut Table, addresses: &[Ipv4Addr]) {
        let spec = self.service.spec.iter().flat_map(|spec| spec.load_balancer_source_ranges.iter().flatten());
        let given: Vec<&str> = spec.map(|range| range.trim()).filter(|range| !range.is_empty()).collect();
        if given.is_empty() || addresses.is_empty() {
            return;
        }
        // Ranges of the other family let nobody of this one in.
        let ranges: Vec<Ipv4Net> = given.iter().filter_map(|range| range.parse().ok()).collect();
        let ranges: Vec<String> = Ipv4Net::aggregate(&ranges).iter().map(ToString::to_string).collect();
        let chain = format!("firewall/{}", self.id);
        let rule =
            if ranges.is_empty() { "drop".into() } else { format!("ip saddr != {{ {} }} drop", ranges.join(", ")) };
        table.chain(&chain, vec![rule]);
        for address in addresses {
            table.map("firewall", self.key(*address), format!("goto {chain}"));
        }
    }

    /// Connections from outside: masqueraded, so that the answer comes back here, unless they may only go to this
    /// node's own endpoints and so keep their source.
    fn external_chain(&self, table: &mut Table, chain: &str, only_local: bool, usable: &[Target]) {
        if !only_local {
            self.balance(table, chain, usable, Some("jump to-masquerade".to_owned()));
            return;
        }
        // Pods and the node itself may use every endpoint: for them the address is but another name.
        let all = format!("anywhere/{}", self.id);
        self.balance(table, &all, &self.targets.cluster, None);
        let mut rules = Vec::new();
        rules.extend(self.place.cluster_cidr.map(|cidr| format!("ip saddr {cidr} goto {all}")));
        rules.push("fib saddr type local jump to-masquerade".to_owned());
        rules.push(format!("fib saddr type local goto {all}"));
        if usable.is_empty() {
            // Dropped, not refused: a load balancer in front asks another node.
            rules.push("jump to-drop".to_owned());
        } else {
            let local = format!("local/{}", self.id);
            self.balance(table, &local, usable, None);
            rules.push(format!("goto {local}"));
        }
        table.chain(chain, rules);
    }

    fn external_ips(&self) -> Vec<Ipv4Addr> {
        let given = self.service.spec.iter().flat_map(|spec| spec.external_ips.iter().flatten());
        given.filter_map(|ip| ip.parse().ok()).collect()
    }

    /// Addresses of a balancer that passes packets on as they are; one that is a proxy of its own is left to itself.
    fn balancer_ips(&self) -> Vec<Ipv4Addr> {
        let balancer = self.service.status.iter().filter_map(|status| status.load_balancer.as_ref());
        let ingress = balancer.flat_map(|balancer| balancer.ingress.iter().flatten());
        let own = ingress.filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"));
        let is_balanced = self.service.spec.as_ref().is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer"));
        own.filter(|_| is_balanced).filter_map(|ingress| ingress.ip.as_ref()?.parse().ok()).collect()
    }

    fn key(&self, address: Ipv4Addr) -> String {
        format!("{address} . {} . {}", self.protocol, self.number)
    }

    /// Leads an address to a chain, or refuses what comes to it.
    fn front(&self, table: &mut Table, address: Ipv4Addr, targets: &[Target], chain: &str, refusal: Refusal) {
        let key = self.key(address);
        match (targets.is_empty(), refusal) {
            (false, _) => table.map("services", key, format!("goto {chain}")),
            (true, Refusal::Reject) => table.set("services_reject", key),
            (true, Refusal::Drop) => table.set("services_drop", key),
        }
    }

    /// A chain that spreads connections over targets, after `first`.
    fn balance(&self, table: &mut Table, chain: &str, targets: &[Target], first: Option<String>) {
        let mut rules: Vec<String> = first.into_iter().collect();
        let protocol = self.protocol;
        match self.affinity() {
            Some(seconds) => self.sticky(table, targets, seconds, &mut rules),
            None => match targets {
                [Target { address, port }] => {
                    rules.push(format!("meta l4proto {protocol} dnat ip to {address}:{port}"))
                }
                several => {
                    let choices = several.iter().enumerate().map(|(n, t)| format!("{n} : {} . {}", t.address, t.port));
                    let choices = choices.collect::<Vec<_>>().join(", ");
                    let count = several.len();
                    rules.push(format!(
                        "meta l4proto {protocol} dnat ip to numgen random mod {count} map {{ {choices} }}"
                    ));
                }
            },
        }
        table.chain(chain, rules);
    }

    /// Each target remembers its clients for a while.
    fn sticky(&self, table: &mut Table, targets: &[Target], seconds: i32, rules: &mut Vec<String>) {
        let name = |kind: &str, target: &Target| format!("{kind}/{}/{}.{}", self.id, target.address, target.port);
        for target in targets {
            // The kernel cannot change how long a set remembers: another time is another set.
            let (chain, set) = (name("endpoint", target), name(&format!("affinity-{seconds}"), target));
            table.declare(set.clone(), format!("type ipv4_addr; flags dynamic,timeout; timeout {seconds}s;"));
            let to = format!("meta l4proto {} dnat ip to {}:{}", self.protocol, target.address, target.port);
            table.chain(&chain, vec![format!("update @{set} {{ ip saddr }}"), to]);
            rules.push(format!("ip saddr @{set} goto {chain}"));
        }
        let choices = targets.iter().enumerate().map(|(n, target)| format!("{n} : goto {}", name("endpoint", target)));
        let choices = choices.collect::<Vec<_>>().join(", ");
        rules.push(format!("numgen random mod {} vmap {{ {choices} }}", targets.len()));
    }

    fn affinity(&self) -> Option<i32> {
        let spec = self.service.spec.as_ref().filter(|spec| spec.session_affinity.as_deref() == Some("ClientIP"))?;
        let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
        Some(config.and_then(|config| config.timeout_seconds).unwrap_or(10_800))
    }
}

/// What becomes of connections that have nowhere to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// The caller is told.
    Reject,
    /// Silence: there are endpoints, but not for this node.
    Drop,
}

fn outside(cidr: Ipv4Net) -> String {
    format!("ip saddr != {cidr} jump to-masquerade")
}
