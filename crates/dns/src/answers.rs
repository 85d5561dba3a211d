//! What the cluster domain says to a question. Pure.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::entries::{Port, ServiceEntry, SliceEntry};
use crate::index::Index;
use crate::zone::{self, Zone};

/// Version of the DNS schema that is followed.
const SCHEMA: &str = "1.1.0";

/// What is to be said.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    Ours(Reply),
    /// The name is not the cluster's: others may know it.
    Elsewhere,
}

/// An answer with authority.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Reply {
    pub code: ResponseCode,
    pub answers: Vec<Record>,
    pub authorities: Vec<Record>,
    pub additionals: Vec<Record>,
    /// The answer ends in this alias, whose own records are to follow.
    pub follow: Option<Name>,
}

/// All that there is at a name; a name without records has other names below it.
#[derive(Default)]
struct Node {
    records: Vec<Record>,
    additionals: Vec<Record>,
}

impl Node {
    fn of(records: impl IntoIterator<Item = Record>) -> Self {
        Self { records: records.into_iter().collect(), additionals: Vec::new() }
    }
}

/// Answers one question.
pub(crate) fn answer(zone: &Zone, index: &impl Index, name: &Name, kind: RecordType) -> Verdict {
    if let Some(address) = zone::reverse(name) {
        let records = pointers(zone, index, name, address);
        // Most addresses are no service's: the world's reverse zones are asked for those.
        return if records.is_empty() { Verdict::Elsewhere } else { reply(zone, kind, Some(Node::of(records))) };
    }
    let Some(labels) = zone.inside(name) else { return Verdict::Elsewhere };
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let node = match labels.as_slice() {
        [] => Some(Node::of(zone.soa().into_iter().chain(zone.ns()))),
        ["dns-version"] => Some(Node::of([zone::text(name, SCHEMA)])),
        ["dns", "ns"] => Some(Node::of(zone.addresses.iter().map(|ip| zone::address(name, *ip)))),
        ["dns" | "svc" | "pod"] => Some(Node::default()),
        ["svc" | "pod", namespace] => index.has_namespace(namespace).then(Node::default),
        ["svc", namespace, service, below @ ..] => {
            index.service(namespace, service).and_then(|service| At { zone, index, name, service }.below(below))
        }
        ["pod", namespace, pod] => {
            let address = zone::undashed(pod).filter(|_| index.has_namespace(namespace));
            address.map(|address| Node::of([zone::address(name, address)]))
        }
        _ => None,
    };
    reply(zone, kind, node)
}

fn reply(zone: &Zone, kind: RecordType, node: Option<Node>) -> Verdict {
    let mut reply = Reply::default();
    match node {
        None => reply.code = ResponseCode::NXDomain,
        Some(node) => {
            let wanted = |record: &Record| {
                kind == RecordType::ANY || record.record_type() == kind || record.record_type() == RecordType::CNAME
            };
            reply.answers = node.records.into_iter().filter(wanted).collect();
            if !reply.answers.is_empty() {
                reply.additionals = node.additionals;
            }
        }
    }
    if let [Record { data: RData::CNAME(target), .. }] = reply.answers.as_slice()
        && !matches!(kind, RecordType::CNAME | RecordType::ANY)
    {
        reply.follow = Some(target.0.clone());
    }
    if reply.answers.is_empty() {
        reply.authorities.extend(zone.soa());
    }
    Verdict::Ours(reply)
}

/// A question about a service.
struct At<'a, I> {
    zone: &'a Zone,
    index: &'a I,
    name: &'a Name,
    service: Arc<ServiceEntry>,
}

/// One address of an endpoint with the name that it has within its service.
struct Named {
    hostname: String,
    address: IpAddr,
    slice: Arc<SliceEntry>,
}

impl<I: Index> At<'_, I> {
    /// The labels below the service's own name, outermost first.
    fn below(&self, labels: &[&str]) -> Option<Node> {
        if let Some(external) = &self.service.external_name {
            let mut target = Name::from_ascii(external).ok().filter(|_| labels.is_empty())?;
            target.set_fqdn(true);
            return Some(Node::of([zone::alias(self.name, target)]));
        }
        match labels {
            [] => self.service_itself(),
            [protocol] if protocol.starts_with('_') => {
                let protocol = protocol.trim_start_matches('_');
                let is_one = |port: &Port| port.protocol == protocol && !port.name.is_empty();
                self.service.ports.iter().any(is_one).then(Node::default)
            }
            [protocol, port] => self.port(protocol.strip_prefix('_')?, port.strip_prefix('_')?),
            [hostname] => {
                let named = self.endpoints().into_iter().filter(|named| named.hostname == *hostname);
                let records: Vec<Record> = named.map(|named| zone::address(self.name, named.address)).collect();
                (!records.is_empty()).then(|| Node::of(records))
            }
            _ => None,
        }
    }

    fn service_itself(&self) -> Option<Node> {
        if !self.service.is_headless {
            return Some(Node::of(self.service.addresses.iter().map(|ip| zone::address(self.name, *ip))));
        }
        let addresses: BTreeSet<IpAddr> = self.endpoints().iter().map(|named| named.address).collect();
        // A headless service with nothing behind it does not exist, as the specification has it.
        (!addresses.is_empty()).then(|| Node::of(addresses.into_iter().map(|ip| zone::address(self.name, ip))))
    }

    fn port(&self, protocol: &str, name: &str) -> Option<Node> {
        let is_wanted = |port: &&Port| port.protocol == protocol && port.name.eq_ignore_ascii_case(name);
        if name.is_empty() {
            return None;
        }
        if !self.service.is_headless {
            let ports: Vec<&Port> = self.service.ports.iter().filter(is_wanted).collect();
            if ports.is_empty() {
                return None;
            }
            let target = self.own_name()?;
            let records = ports.iter().map(|port| zone::service(self.name, port.number, target.clone(), ports.len()));
            let additionals = self.service.addresses.iter().map(|ip| zone::address(&target, *ip)).collect();
            return Some(Node { records: records.collect(), additionals });
        }
        let mut targets = BTreeSet::new();
        let mut additionals = Vec::new();
        for named in self.endpoints() {
            let Some(port) = named.slice.ports.iter().find(is_wanted) else { continue };
            let Some(target) = self.endpoint_name(&named.hostname) else { continue };
            additionals.push(zone::address(&target, named.address));
            targets.insert((target, port.number));
        }
        let count = targets.len();
        let records: Vec<Record> =
            targets.into_iter().map(|(target, port)| zone::service(self.name, port, target, count)).collect();
        (!records.is_empty()).then_some(Node { records, additionals })
    }

    fn own_name(&self) -> Option<Name> {
        self.zone.name(&[&self.service.name, &self.service.namespace, "svc"])
    }

    fn endpoint_name(&self, hostname: &str) -> Option<Name> {
        self.zone.name(&[hostname, &self.service.name, &self.service.namespace, "svc"])
    }

    /// Those that may be named, each address once.
    fn endpoints(&self) -> Vec<Named> {
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for slice in self.index.slices(&self.service.namespace, &self.service.name) {
            for endpoint in slice.endpoints.iter().filter(|e| e.ready || self.service.publishes_not_ready) {
                for address in &endpoint.addresses {
                    let hostname = endpoint.hostname.as_deref().map(str::to_ascii_lowercase);
                    let hostname = hostname.unwrap_or_else(|| zone::dashed(*address));
                    if seen.insert((hostname.clone(), *address)) {
                        found.push(Named { hostname, address: *address, slice: Arc::clone(&slice) });
                    }
                }
            }
        }
        found
    }
}

/// A cluster address names its service, an endpoint's address its place in every headless service.
fn pointers(zone: &Zone, index: &impl Index, name: &Name, address: IpAddr) -> Vec<Record> {
    let services = index.services_at(address);
    let mut targets: BTreeSet<Name> =
        services.iter().filter_map(|service| zone.name(&[&service.name, &service.namespace, "svc"])).collect();
    if targets.is_empty() {
        for slice in index.slices_at(address) {
            let service = index.service(&slice.namespace, &slice.service).filter(|service| service.is_headless);
            let Some(service) = service else { continue };
            let at = At { zone, index, name, service };
            let named = at.endpoints().into_iter().filter(|named| named.address == address);
            targets.extend(named.filter_map(|named| at.endpoint_name(&named.hostname)));
        }
    }
    targets.into_iter().map(|target| zone::pointer(name, target)).collect()
}
