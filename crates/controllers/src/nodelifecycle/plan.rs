//! What a silent node's conditions say, and which taints its state asks for. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(super) const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub(super) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const NO_SCHEDULE: &str = "NoSchedule";
const NO_EXECUTE: &str = "NoExecute";
const KINDS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
/// Condition, the status that is bad, the taint for it.
const TAINTS: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];

pub(super) fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    let status = node.status.as_ref()?;
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

/// `True`, `False` or `Unknown`; nothing said is `Unknown`.
pub(super) fn readiness(node: &Node) -> &str {
    condition(node, "Ready").map_or("Unknown", |condition| condition.status.as_str())
}

/// The conditions of a node that is silent, where they differ from what they are.
pub(super) fn silence(node: &Node, now: Timestamp) -> Vec<NodeCondition> {
    let unknown = KINDS.iter().filter_map(|kind| {
        let old = condition(node, kind);
        if old.is_some_and(|old| old.status == "Unknown") {
            return None;
        }
        let (reason, message) = match old {
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
        };
        Some(NodeCondition {
            type_: (*kind).to_owned(),
            status: "Unknown".into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_heartbeat_time: old
                .map_or(node.metadata.creation_timestamp.clone(), |old| old.last_heartbeat_time.clone()),
            last_transition_time: Some(Time(now)),
        })
    });
    unknown.collect()
}

/// How the cluster is doing, as far as evicting goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cluster {
    /// Unready nodes are the exception: their pods may go elsewhere.
    Normal,
    /// So many are unready that it is rather the network: no new evictions.
    Partial,
    /// Nobody is ready: rather it is us who are cut off, and nothing is to be evicted.
    Full,
}

const LARGE: usize = 50;
const UNHEALTHY_PERCENT: usize = 55;

pub(super) fn cluster(nodes: usize, unready: usize) -> Cluster {
    let many = unready > 2 && unready * 100 >= nodes * UNHEALTHY_PERCENT;
    match () {
        () if nodes > 0 && unready == nodes => Cluster::Full,
        () if many && nodes <= LARGE => Cluster::Partial,
        () => Cluster::Normal,
    }
}

/// The taints that the node is to have, none if it has them.
pub(super) fn taints(node: &Node, cluster: Cluster, now: Timestamp) -> Option<Vec<Taint>> {
    let spec = node.spec.clone().unwrap_or_default();
    let old = spec.taints.unwrap_or_default();
    let bad = TAINTS.iter().filter(|(kind, status, _)| condition(node, kind).is_some_and(|c| c.status == *status));
    let mut wanted: Vec<(&str, &str)> = bad.map(|(_, _, key)| (*key, NO_SCHEDULE)).collect();
    if spec.unschedulable == Some(true) {
        wanted.push((UNSCHEDULABLE, NO_SCHEDULE));
    }
    if let Some(key) = condition(node, "Ready").and_then(|ready| evicting(&ready.status)) {
        let has = old.iter().any(|taint| taint.effect == NO_EXECUTE && [NOT_READY, UNREACHABLE].contains(&&*taint.key));
        if cluster == Cluster::Normal || (cluster == Cluster::Partial && has) {
            wanted.push((key, NO_EXECUTE));
        }
    }
    // A node that has said nothing yet keeps the taint that it was registered with.
    if condition(node, "Ready").is_none() && old.iter().any(|taint| taint.key == NOT_READY) {
        wanted.push((NOT_READY, NO_SCHEDULE));
    }
    let new = merge(&old, &wanted, now);
    (new != old).then_some(new)
}

fn evicting(status: &str) -> Option<&'static str> {
    match status {
        "False" => Some(NOT_READY),
        "Unknown" => Some(UNREACHABLE),
        _ => None,
    }
}

/// Taints of others stay as they are; ours keep the time at which they were added.
fn merge(old: &[Taint], wanted: &[(&str, &str)], now: Timestamp) -> Vec<Taint> {
    let ours = |taint: &Taint| match taint.effect.as_str() {
        NO_SCHEDULE => taint.key == UNSCHEDULABLE || TAINTS.iter().any(|(_, _, key)| *key == taint.key),
        NO_EXECUTE => taint.key == NOT_READY || taint.key == UNREACHABLE,
        _ => false,
    };
    let is = |taint: &Taint, (key, effect): (&str, &str)| taint.key == key && taint.effect == effect;
    let keep = |taint: &&Taint| !ours(taint) || wanted.iter().any(|pair| is(taint, *pair));
    let mut taints: Vec<_> = old.iter().filter(keep).cloned().collect();
    for (key, effect) in wanted {
        if !taints.iter().any(|taint| is(taint, (key, effect))) {
            let (key, effect) = ((*key).to_owned(), (*effect).to_owned());
            taints.push(Taint { key, effect, value: None, time_added: Some(Time(now)) });
        }
    }
    taints
}
