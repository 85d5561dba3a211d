//! What network policies mean for the pods of this node. Pure: objects in, wanted rules out.
//!
//! A packet looks up its pod in a map and, from there, addresses in sets: its cost grows with the rules of the policies
//! that select the pod, not with the number of pods. Answers are never looked at, nor is what comes from the node itself.

mod entries;
mod frame;
mod matches;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod traffic;

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::Ipv4Net;
use k8s_openapi::api::networking::v1::NetworkPolicy;

use crate::table::Table;
pub(crate) use entries::{Labels, PodEntry, namespace_entry, pod_entry};
pub(crate) use frame::{closed, frame};
use matches::Matches;

/// What is known of the cluster.
pub(crate) struct View<'a> {
    pub pods: &'a [Arc<PodEntry>],
    pub namespaces: &'a BTreeMap<String, Arc<Labels>>,
    pub node: &'a str,
    /// Where this node's pods have their addresses.
    pub range: Option<Ipv4Net>,
}

/// The direction that a rule speaks of, seen from the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// The rules for all policies; without any policy there are none.
pub(crate) fn table(policies: &[Arc<NetworkPolicy>], view: &View<'_>) -> Table {
    let mut table = Table::default();
    if policies.is_empty() {
        return table;
    }
    // Until a pod of this node is known here, nothing goes to or from its address.
    if let Some(range) = view.range {
        table.set("gated", range.to_string());
    }
    for pod in view.pods.iter().filter(|pod| pod.node == view.node) {
        let Some(address) = pod.address else { continue };
        table.set("known", address.to_string());
        for direction in [Direction::Ingress, Direction::Egress] {
            let mut isolating: Vec<&NetworkPolicy> = policies.iter().map(AsRef::as_ref).collect();
            isolating.retain(|policy| selects(policy, pod) && speaks_of(policy, direction));
            if isolating.is_empty() {
                continue;
            }
            // A pod always reaches itself.
            table.set("own", format!("{address} . {address}"));
            let rules = rules(&isolating, direction, pod, view, &mut table);
            // Pods with the same rules share a chain.
            let chain = format!("{}/{:016x}", direction.name(), matches::sum(&rules));
            table.map(direction.name(), address.to_string(), format!("jump {chain}"));
            table.chain(&chain, rules);
        }
    }
    table
}

fn selects(policy: &NetworkPolicy, pod: &PodEntry) -> bool {
    let selector = policy.spec.as_ref().and_then(|spec| spec.pod_selector.as_ref());
    policy.metadata.namespace.as_deref() == Some(pod.namespace.as_str())
        && policy.spec.is_some()
        && entries::matches(selector, &pod.labels)
}

fn speaks_of(policy: &NetworkPolicy, direction: Direction) -> bool {
    let Some(spec) = &policy.spec else { return false };
    let said = spec.policy_types.iter().flatten().any(|kind| kind.eq_ignore_ascii_case(direction.name()));
    let unsaid = spec.policy_types.as_ref().is_none_or(Vec::is_empty);
    said || (unsaid && (direction == Direction::Ingress || spec.egress.as_ref().is_some_and(|rules| !rules.is_empty())))
}

/// What may pass returns to where it came from; the rest goes no further.
fn rules(
    policies: &[&NetworkPolicy],
    direction: Direction,
    pod: &PodEntry,
    view: &View<'_>,
    table: &mut Table,
) -> Vec<String> {
    let mut out = Vec::new();
    for policy in policies {
        let Some(spec) = &policy.spec else { continue };
        let mut matches = Matches { direction, policy, pod, view, table };
        let of_rule = match direction {
            Direction::Ingress => {
                let rules = spec.ingress.iter().flatten();
                rules.map(|rule| (rule.from.as_deref(), rule.ports.as_deref())).collect::<Vec<_>>()
            }
            Direction::Egress => {
                let rules = spec.egress.iter().flatten();
                rules.map(|rule| (rule.to.as_deref(), rule.ports.as_deref())).collect()
            }
        };
        for (peers, ports) in of_rule {
            matches.rule(peers.unwrap_or_default(), ports.unwrap_or_default(), &mut out);
        }
    }
    out.sort();
    out.dedup();
    out.push("drop".to_owned());
    out
}
