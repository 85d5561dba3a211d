//! On which nodes pods are missing or too many, which are out of date, what the status says. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::NodeTerm;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{
    Affinity, Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Taint,
    Toleration,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::common::{pods, share};

pub(super) const REVISION: &str = "controller-revision-hash";
const FIELD: &str = "metadata.name";

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Nodes that get a pod.
    pub(super) create: Vec<String>,
    pub(super) delete: Vec<Arc<Pod>>,
    /// Of those, the ones that failed.
    pub(super) failed: Vec<Arc<Pod>>,
}

/// The node that a pod is on, or is meant for.
pub(super) fn node_of(pod: &Pod) -> Option<String> {
    if let Some(node) = pods::node(pod) {
        return Some(node.to_owned());
    }
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    let fields = terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    fields.filter(|field| field.key == FIELD).find_map(|field| field.values.as_ref()?.first().cloned())
}

/// Taints that do not concern daemons.
pub(super) fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let taint = |key: &str, effect: &str| Toleration {
        key: Some(format!("node.kubernetes.io/{key}")),
        operator: Some("Exists".into()),
        effect: Some(effect.into()),
        ..Toleration::default()
    };
    let mut own = spec.tolerations.clone().unwrap_or_default();
    let mut more = vec![
        taint("not-ready", "NoExecute"),
        taint("unreachable", "NoExecute"),
        taint("disk-pressure", "NoSchedule"),
        taint("memory-pressure", "NoSchedule"),
        taint("pid-pressure", "NoSchedule"),
        taint("unschedulable", "NoSchedule"),
    ];
    if spec.host_network == Some(true) {
        more.push(taint("network-unavailable", "NoSchedule"));
    }
    more.retain(|toleration| !own.contains(toleration));
    own.extend(more);
    own
}

/// Binds a pod to a node by affinity, so that the scheduler still has its say.
pub(super) fn pin(spec: &mut PodSpec, node: &str) {
    let field =
        NodeSelectorRequirement { key: FIELD.into(), operator: "In".into(), values: Some(vec![node.to_owned()]) };
    let affinity = spec.affinity.get_or_insert_with(Affinity::default);
    let affinity = affinity.node_affinity.get_or_insert_with(NodeAffinity::default);
    let selector = &mut affinity.required_during_scheduling_ignored_during_execution;
    let terms = &mut selector.get_or_insert_with(NodeSelector::default).node_selector_terms;
    if terms.is_empty() {
        terms.push(NodeSelectorTerm::default());
    }
    terms.iter_mut().for_each(|term| term.match_fields = Some(vec![field.clone()]));
    spec.tolerations = Some(tolerations(spec));
}

/// Whether a pod is to be on the node, and whether one that is there may stay.
fn fits(set: &DaemonSet, node: &Node) -> (bool, bool) {
    let spec = set.spec.template.spec.clone().unwrap_or_default();
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let selected = spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    let matches = required.is_none_or(|selector| {
        selector.node_selector_terms.iter().any(|term| NodeTerm::of(term).matches(name, &labels))
    });
    let named = spec.node_name.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted == name);
    if !(selected && matches && named) {
        return (false, false);
    }
    let tolerations = tolerations(&spec);
    let bad = |taint: &&Taint| !tolerations.iter().any(|toleration| client::tolerates(toleration, taint));
    let taints = || node.spec.iter().flat_map(|spec| spec.taints.iter().flatten()).filter(bad);
    let hard = |effect: &str| matches!(effect, "NoSchedule" | "NoExecute");
    (!taints().any(|taint| hard(&taint.effect)), !taints().any(|taint| taint.effect == "NoExecute"))
}

type ByNode<'a> = BTreeMap<String, Vec<&'a Arc<Pod>>>;

fn by_node(owned: &[Arc<Pod>]) -> ByNode<'_> {
    let mut nodes = ByNode::new();
    for pod in owned {
        if let Some(node) = node_of(pod) {
            nodes.entry(node).or_default().push(pod);
        }
    }
    nodes
}

/// `hash` is the revision that pods are to have.
pub(super) fn plan(set: &DaemonSet, nodes: &[Arc<Node>], owned: &[Arc<Pod>], hash: &str, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let mut placed = by_node(owned);
    let surge = surge(set, nodes);
    for node in nodes {
        let name = node.metadata.name.clone().unwrap_or_default();
        let here = placed.remove(&name).unwrap_or_default();
        let (run, stay) = fits(set, node);
        if run && here.is_empty() {
            plan.create.push(name);
        } else if !stay {
            plan.delete.extend(here.into_iter().filter(|pod| !pods::is_terminating(pod)).cloned());
        } else {
            tidy(set, here, surge.map(|_| (hash, now)), &mut plan);
        }
    }
    // What is left is on nodes that are gone: the pod garbage collector's business.
    match surge {
        Some(limit) => surges(set, nodes, owned, hash, limit, &mut plan),
        None => plan.delete.extend(outdated(set, nodes, owned, hash, now, &plan)),
    }
    plan
}

/// Finished pods go, to be made again; of several the oldest that runs stays. Where new pods are made before old ones
/// go, the old one stays beside the new one until that is available.
fn tidy(set: &DaemonSet, here: Vec<&Arc<Pod>>, surging: Option<(&str, Timestamp)>, plan: &mut Plan) {
    let (finished, mut alive): (Vec<_>, Vec<_>) = here.into_iter().partition(|pod| pods::is_finished(pod));
    for pod in finished.into_iter().filter(|pod| !pods::is_terminating(pod)) {
        plan.failed.push(Arc::clone(pod));
        plan.delete.push(Arc::clone(pod));
    }
    alive.retain(|pod| !pods::is_terminating(pod));
    alive.sort_by_key(|pod| (pods::node(pod).is_none(), pod.metadata.creation_timestamp.as_ref().map(|time| time.0)));
    let Some((hash, now)) = surging else {
        plan.delete.extend(alive.into_iter().skip(1).cloned());
        return;
    };
    let (new, old): (Vec<_>, Vec<_>) = alive.into_iter().partition(|pod| is_current(pod, hash));
    let replaced = new.first().is_some_and(|pod| pods::is_available(pod, min_ready(set), now));
    // An old one that does not work is not worth waiting for.
    let keep = |pod: &&Arc<Pod>| !replaced && (new.is_empty() || pods::is_available(pod, min_ready(set), now));
    let (kept, gone): (Vec<_>, Vec<_>) = old.into_iter().partition(keep);
    let surplus = new.into_iter().skip(1).chain(kept.into_iter().skip(1)).chain(gone);
    plan.delete.extend(surplus.cloned());
}

/// How many new pods may run beside old ones; none where old ones go first.
fn surge(set: &DaemonSet, nodes: &[Arc<Node>]) -> Option<usize> {
    let strategy =
        set.spec.update_strategy.as_ref().filter(|strategy| strategy.type_.as_deref() != Some("OnDelete"))?;
    let amount = strategy.rolling_update.as_ref()?.max_surge.as_ref()?;
    let wanted = nodes.iter().filter(|node| fits(set, node).0).count();
    Some(share::rounded_up(amount, wanted)).filter(|limit| *limit > 0)
}

/// Makes new pods beside old ones, as many at a time as are allowed.
fn surges(set: &DaemonSet, nodes: &[Arc<Node>], owned: &[Arc<Pod>], hash: &str, limit: usize, plan: &mut Plan) {
    let placed = by_node(owned);
    let (mut running, mut waiting) = (0, Vec::new());
    for node in nodes.iter().filter(|node| fits(set, node).0) {
        let Some(here) = node.metadata.name.as_ref().and_then(|name| placed.get_key_value(name)) else { continue };
        let alive = || here.1.iter().filter(|pod| pods::is_active(pod) && !plan.delete.contains(pod));
        let (old, new) = (alive().any(|pod| !is_current(pod, hash)), alive().any(|pod| is_current(pod, hash)));
        running += usize::from(old && new);
        if old && !new {
            waiting.push(here.0.clone());
        }
    }
    plan.create.extend(waiting.into_iter().take(limit.saturating_sub(running)));
}

fn min_ready(set: &DaemonSet) -> i32 {
    set.spec.min_ready_seconds.unwrap_or(0)
}

pub(super) fn is_current(pod: &Pod, hash: &str) -> bool {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(REVISION)).is_some_and(|label| label == hash)
}

/// As many pods of older revisions as may be missing at a time; those that do not work first.
fn outdated(
    set: &DaemonSet,
    nodes: &[Arc<Node>],
    owned: &[Arc<Pod>],
    hash: &str,
    now: Timestamp,
    plan: &Plan,
) -> Vec<Arc<Pod>> {
    let strategy = set.spec.update_strategy.clone().unwrap_or_default();
    if strategy.type_.as_deref() == Some("OnDelete") {
        return Vec::new();
    }
    let wanted: Vec<_> = nodes.iter().filter(|node| fits(set, node).0).collect();
    let limit = strategy.rolling_update.and_then(|rolling| rolling.max_unavailable);
    let limit = share::rounded_up(limit.as_ref().unwrap_or(&IntOrString::Int(1)), wanted.len()).max(1);
    let available = |pod: &&Arc<Pod>| {
        !pods::is_terminating(pod) && pods::is_available(pod, min_ready(set), now) && !plan.delete.contains(pod)
    };
    let placed = by_node(owned);
    let works = |node: &&&Arc<Node>| {
        let here = node.metadata.name.as_ref().and_then(|name| placed.get(name));
        here.is_some_and(|pods| pods.iter().any(&available))
    };
    let missing = wanted.len() - wanted.iter().filter(works).count();
    let old = owned.iter().filter(|pod| {
        !is_current(pod, hash) && !pods::is_terminating(pod) && !plan.delete.contains(pod) && node_of(pod).is_some()
    });
    let (working, broken): (Vec<_>, Vec<_>) = old.partition(|pod| available(pod));
    let room = limit.saturating_sub(missing);
    broken.into_iter().chain(working.into_iter().take(room)).cloned().collect()
}

pub(super) fn status(
    set: &DaemonSet,
    nodes: &[Arc<Node>],
    owned: &[Arc<Pod>],
    hash: &str,
    now: Timestamp,
) -> DaemonSetStatus {
    let placed = by_node(owned);
    let old = set.status.clone().unwrap_or_default();
    let mut status = DaemonSetStatus {
        observed_generation: set.metadata.generation,
        collision_count: old.collision_count,
        conditions: old.conditions,
        ..DaemonSetStatus::default()
    };
    let (mut updated, mut available) = (0, 0);
    for node in nodes {
        let here = node.metadata.name.as_ref().and_then(|name| placed.get(name));
        if !fits(set, node).0 {
            status.number_misscheduled += i32::from(here.is_some());
            continue;
        }
        status.desired_number_scheduled += 1;
        let Some(pod) = here.and_then(|pods| pods.iter().min_by_key(|pod| !pods::is_active(pod))) else { continue };
        status.current_number_scheduled += 1;
        status.number_ready += i32::from(pods::is_ready(pod));
        updated += i32::from(is_current(pod, hash));
        available += i32::from(pods::is_available(pod, min_ready(set), now));
    }
    let unavailable = status.desired_number_scheduled - available;
    let some = |number: i32| (number > 0).then_some(number);
    status.updated_number_scheduled = some(updated);
    status.number_available = some(available);
    status.number_unavailable = some(unavailable);
    status
}
