//! One rule of a policy as matches of packets.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::entries::{self, PodEntry};
use super::{Direction, View};
use crate::table::Table;

/// Turns rules of one policy into matches, and the sets that those need.
pub(super) struct Matches<'a, 'v> {
    pub direction: Direction,
    pub policy: &'a NetworkPolicy,
    pub pod: &'a PodEntry,
    pub view: &'a View<'v>,
    pub table: &'a mut Table,
}

/// Which ports: any, or ranges by protocol and names that each peer gives its own number.
#[derive(Default)]
struct Ports<'a> {
    any: bool,
    ranges: BTreeMap<&'static str, Vec<(u16, u16)>>,
    named: Vec<(&'static str, &'a str)>,
}

impl Matches<'_, '_> {
    pub(super) fn rule(&mut self, peers: &[NetworkPolicyPeer], ports: &[NetworkPolicyPort], out: &mut Vec<String>) {
        let ports = self.ports(ports);
        let port_matches = ports.matches();
        let mut add = |peer: &str| {
            out.extend(port_matches.iter().map(|port| {
                [peer, port, "return"].iter().filter(|m| !m.is_empty()).copied().collect::<Vec<_>>().join(" ")
            }));
        };
        if peers.is_empty() {
            add("");
        }
        for peer in peers {
            match &peer.ip_block {
                Some(block) => block_match(self.side(), block).iter().for_each(|m| add(m)),
                None => {
                    let set = self.peer_set(peer);
                    add(&format!("ip {} @{set}", self.side()));
                }
            }
        }
        for (protocol, name) in &ports.named {
            let everybody = NetworkPolicyPeer { namespace_selector: Some(Default::default()), ..Default::default() };
            let everybody = [everybody];
            let peers = if peers.is_empty() { &everybody[..] } else { peers };
            for peer in peers.iter().filter(|peer| peer.ip_block.is_none()) {
                let set = self.port_set(peer, protocol, name);
                out.push(format!("ip daddr . meta l4proto . th dport @{set} return"));
            }
        }
    }

    /// Where a packet names the peer.
    fn side(&self) -> &'static str {
        match self.direction {
            Direction::Ingress => "saddr",
            Direction::Egress => "daddr",
        }
    }

    fn ports<'p>(&self, ports: &'p [NetworkPolicyPort]) -> Ports<'p> {
        let mut all = Ports { any: ports.is_empty(), ..Ports::default() };
        for port in ports {
            let Some(protocol) = crate::rules::protocol(port.protocol.as_deref()) else { continue };
            let mut add = |first: u16, last: u16| all.ranges.entry(protocol).or_default().push((first, last));
            match (&port.port, port.end_port) {
                (None, _) => add(0, u16::MAX),
                (Some(IntOrString::Int(first)), last) => {
                    let last = last.unwrap_or(*first);
                    if let (Ok(first), Ok(last)) = (u16::try_from(*first), u16::try_from(last)) {
                        add(first, last.max(first));
                    }
                }
                (Some(IntOrString::String(name)), _) if self.direction == Direction::Ingress => {
                    numbers(self.pod, protocol, name).for_each(|number| add(number, number));
                }
                (Some(IntOrString::String(name)), _) => all.named.push((protocol, name)),
            }
        }
        all
    }

    /// The pods that a peer stands for: of the policy's namespace, or of those that are selected.
    fn pods(&self, peer: &NetworkPolicyPeer) -> impl Iterator<Item = &PodEntry> {
        let own = self.policy.metadata.namespace.clone().unwrap_or_default();
        let in_namespace = move |pod: &&PodEntry| match &peer.namespace_selector {
            None => pod.namespace == own,
            Some(selector) => {
                let labels = self.view.namespaces.get(&pod.namespace);
                labels.is_some_and(|labels| entries::matches(Some(selector), labels))
            }
        };
        let pods = self.view.pods.iter().map(AsRef::as_ref).filter(in_namespace);
        pods.filter(|pod| entries::matches(peer.pod_selector.as_ref(), &pod.labels))
    }

    fn peer_set(&mut self, peer: &NetworkPolicyPeer) -> String {
        let name = format!("peers/{:016x}", sum(&[self.describe(peer)]));
        let elements: Vec<String> =
            self.pods(peer).filter_map(|pod| pod.address).map(|address| address.to_string()).collect();
        self.fill(&name, "type ipv4_addr;", elements);
        name
    }

    fn port_set(&mut self, peer: &NetworkPolicyPeer, protocol: &str, port: &str) -> String {
        let name = format!("ports/{:016x}", sum(&[self.describe(peer), protocol.to_owned(), port.to_owned()]));
        let of_pod = |pod: &PodEntry| {
            let address = pod.address;
            let numbers: Vec<u16> = numbers(pod, protocol, port).collect();
            numbers.into_iter().filter_map(move |number| Some(format!("{} . {protocol} . {number}", address?)))
        };
        let elements: Vec<String> = self.pods(peer).flat_map(of_pod).collect();
        self.fill(&name, "type ipv4_addr . inet_proto . inet_service;", elements);
        name
    }

    fn fill(&mut self, name: &str, holds: &str, elements: Vec<String>) {
        self.table.declare(name.to_owned(), holds.to_owned());
        for element in elements {
            self.table.set(name.to_owned(), element);
        }
    }

    /// Policies that speak of the same peers share a set.
    fn describe(&self, peer: &NetworkPolicyPeer) -> String {
        let own = self.policy.metadata.namespace.as_deref().filter(|_| peer.namespace_selector.is_none());
        format!("{own:?} {:?} {:?}", peer.namespace_selector, peer.pod_selector)
    }
}

impl Ports<'_> {
    /// One match a protocol; the empty one for all ports; none when no port of the rule is there.
    fn matches(&self) -> Vec<String> {
        if self.any {
            return vec![String::new()];
        }
        let of_protocol = |(protocol, ranges): (&&str, &Vec<(u16, u16)>)| {
            let merged = merge(ranges.clone());
            if merged == [(0, u16::MAX)] {
                return format!("meta l4proto {protocol}");
            }
            let text =
                |(first, last): &(u16, u16)| if first == last { first.to_string() } else { format!("{first}-{last}") };
            format!("{protocol} dport {{ {} }}", merged.iter().map(text).collect::<Vec<_>>().join(", "))
        };
        self.ranges.iter().map(of_protocol).collect()
    }
}

/// Ranges without overlap, as the kernel wants them.
fn merge(mut ranges: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn numbers(pod: &PodEntry, protocol: &str, name: &str) -> impl Iterator<Item = u16> {
    let ports = pod.ports.iter();
    ports.filter(move |(n, p, _)| n == name && p.eq_ignore_ascii_case(protocol)).map(|(.., number)| *number)
}

/// A block of addresses; none of the other family.
fn block_match(side: &str, block: &IPBlock) -> Option<String> {
    let range: Ipv4Net = block.cidr.parse().ok()?;
    let except: Vec<Ipv4Net> = block.except.iter().flatten().filter_map(|range| range.parse().ok()).collect();
    let except: Vec<String> = Ipv4Net::aggregate(&except).iter().map(ToString::to_string).collect();
    let range = if range.prefix_len() == 0 { String::new() } else { format!("ip {side} {}", range.trunc()) };
    Some(match except.is_empty() {
        true => range,
        false => format!("{range} ip {side} != {{ {} }}", except.join(", ")).trim_start().to_owned(),
    })
}

/// A short name for texts, the same after every start.
pub(super) fn sum(texts: &[String]) -> u64 {
    let bytes = texts.iter().flat_map(|text| text.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
