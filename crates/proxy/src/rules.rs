//! What services mean on this node. Pure: objects in, wanted rules out.

#[cfg(test)]
mod tests;
#[cfg(test)]
mod traffic;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use crate::table::Table;

/// Where this node is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub node: String,
    /// Addresses of pods: what comes from elsewhere to a cluster address is masqueraded.
    pub cluster_cidr: Option<Ipv4Net>,
    /// Cluster addresses that this node answers at itself as long as their service has no endpoints.
    pub answered_here: Vec<Ipv4Addr>,
}

/// One place to send connections to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    address: Ipv4Addr,
    port: u16,
}

/// The endpoints of one service port, by who may use them.
#[derive(Debug, Default)]
struct Targets {
    cluster: Vec<Target>,
    local: Vec<Target>,
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
    slices: impl Fn(&str, &str) -> Vec<std::sync::Arc<EndpointSlice>>,
    place: &Place,
) -> Table {
    let mut table = Table::default();
    for service in services.into_iter().filter(|service| is_proxied(service)) {
        let (namespace, name) = (text(service.metadata.namespace.as_ref()), text(service.metadata.name.as_ref()));
        let slices = slices(namespace, name);
        for port in service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()) {
            if let Some(port) = port_of(service, port, &slices, place) {
                port.add(&mut table);
            }
        }
    }
    table
}

fn text(value: Option<&String>) -> &str {
    value.map_or("", String::as_str)
}

/// Headless services have no address, names elsewhere are the resolver's, and some belong to another proxy.
fn is_proxied(service: &Service) -> bool {
    let foreign = |labels: &BTreeMap<String, String>| labels.contains_key("service.kubernetes.io/service-proxy-name");
    let Some(spec) = &service.spec else { return false };
    spec.type_.as_deref() != Some("ExternalName")
        && spec.cluster_ip.as_deref().is_some_and(|ip| !ip.is_empty() && ip != "None")
        && !service.metadata.labels.as_ref().is_some_and(foreign)
}

fn protocol(name: Option<&str>) -> Option<&'static str> {
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
    slices: &[std::sync::Arc<EndpointSlice>],
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
        targets: targets(slices, port_name, protocol, &place.node),
        place,
    })
}

/// The endpoints to use: those that are ready, or, when none is, those that still serve while they end.
fn targets(slices: &[std::sync::Arc<EndpointSlice>], name: &str, wanted: &str, node: &str) -> Targets {
    let mut all: Vec<(Target, &Endpoint)> = Vec::new();
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
    let choose = |local: bool| {
        let near = |endpoint: &Endpoint| !local || endpoint.node_name.as_deref() == Some(node);
        let pick = |fits: fn(&Endpoint) -> bool| {
            let chosen = all.iter().filter(|(_, endpoint)| near(endpoint) && fits(endpoint));
            let mut chosen: Vec<Target> = chosen.map(|(target, _)| *target).collect();
            chosen.sort_unstable();
            chosen.dedup();
            chosen
        };
        let ready = pick(is_ready);
        if ready.is_empty() { pick(serves_while_ending) } else { ready }
    };
    Targets { cluster: choose(false), local: choose(true) }
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

fn serves_while_ending(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    conditions.serving.unwrap_or(true) && conditions.terminating.unwrap_or(false)
}

impl Port<'_> {
    fn add(&self, table: &mut Table) {
        let Some(spec) = &self.service.spec else { return };
        let internal_local = spec.internal_traffic_policy.as_deref() == Some("Local");
        let external_local = spec.external_traffic_policy.as_deref() == Some("Local");
        let inside = if internal_local { &self.targets.local } else { &self.targets.cluster };
        for address in &inside.iter().chain(&self.targets.cluster).map(|target| target.address).collect::<Vec<_>>() {
            table.set("hairpin", format!("{address} . {address}"));
        }
        let service_chain = format!("service/{}", self.id);
        if !inside.is_empty() {
            self.balance(table, &service_chain, inside, self.place.cluster_cidr.map(outside));
        }
        let cluster_ips = spec.cluster_ips.clone().unwrap_or_else(|| spec.cluster_ip.clone().into_iter().collect());
        for address in cluster_ips.iter().filter_map(|ip| ip.parse::<Ipv4Addr>().ok()) {
            if self.targets.cluster.is_empty() && self.place.answered_here.contains(&address) {
                continue;
            }
            table.set("cluster_ips", address.to_string());
            let unreachable = if self.targets.cluster.is_empty() { Refusal::Reject } else { Refusal::Drop };
            self.front(table, address, inside, &service_chain, unreachable);
        }
        self.add_external(table, external_local);
    }

    fn add_external(&self, table: &mut Table, only_local: bool) {
        let addresses = self.external_addresses();
        if addresses.is_empty() && self.node_port.is_none() {
            return;
        }
        let chain = format!("external/{}", self.id);
        let usable = if only_local { &self.targets.local } else { &self.targets.cluster };
        let nowhere = self.targets.cluster.is_empty();
        if !nowhere {
            self.external_chain(table, &chain, only_local, usable);
        }
        let refusal = if nowhere { Refusal::Reject } else { Refusal::Drop };
        let reachable = if nowhere { &[] } else { self.targets.cluster.as_slice() };
        for address in addresses {
            self.front(table, address, reachable, &chain, refusal);
        }
        if let Some(port) = self.node_port {
            let key = format!("{} . {port}", self.protocol);
            if nowhere {
                table.set("nodeports_reject", key);
            } else {
                table.map("nodeports", key, format!("goto {chain}"));
            }
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

    fn external_addresses(&self) -> Vec<Ipv4Addr> {
        let spec = self.service.spec.iter().flat_map(|spec| spec.external_ips.iter().flatten());
        let balancer = self.service.status.iter().filter_map(|status| status.load_balancer.as_ref());
        let ingress = balancer.flat_map(|balancer| balancer.ingress.iter().flatten());
        let own = ingress.filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"));
        spec.chain(own.filter_map(|ingress| ingress.ip.as_ref())).filter_map(|ip| ip.parse().ok()).collect()
    }

    /// Leads an address to a chain, or refuses what comes to it.
    fn front(&self, table: &mut Table, address: Ipv4Addr, targets: &[Target], chain: &str, refusal: Refusal) {
        let key = format!("{address} . {} . {}", self.protocol, self.number);
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
            let (chain, set) = (name("endpoint", target), name("affinity", target));
            table.clients(&set, seconds);
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
