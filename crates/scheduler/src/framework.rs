//! Filter, then score: the decision where a pod goes. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::plugins;
use crate::pod::PodInfo;
use crate::snapshot::{NodeInfo, Snapshot};

/// The highest score of a node by one plugin.
pub(crate) const MAX_SCORE: i64 = 100;

/// Why a node is not fit for a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) reasons: Vec<String>,
    /// False when no removal of pods would help.
    pub(crate) resolvable: bool,
}

impl Rejection {
    /// Removing pods may help.
    pub(crate) fn resolvable(reason: impl Into<String>) -> Self {
        Self { reasons: vec![reason.into()], resolvable: true }
    }

    /// Removing pods will not help.
    pub(crate) fn unresolvable(reason: impl Into<String>) -> Self {
        Self { reasons: vec![reason.into()], resolvable: false }
    }
}

/// What is computed once for a pod, over all nodes.
pub(crate) struct Cycle<'a> {
    pub(crate) pod: &'a PodInfo,
    pub(crate) spread: plugins::pod_topology_spread::State<'a>,
    pub(crate) affinity: plugins::inter_pod_affinity::State,
}

impl<'a> Cycle<'a> {
    pub(crate) fn new(pod: &'a PodInfo, snapshot: &'a Snapshot) -> Self {
        let spread = plugins::pod_topology_spread::State::new(pod, snapshot);
        let affinity = plugins::inter_pod_affinity::State::new(pod, snapshot);
        Self { pod, spread, affinity }
    }
}

/// Says whether a pod can be on a node.
pub(crate) trait Filter: Sync {
    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Rejection>;
}

/// Says how good a node is for a pod.
pub(crate) trait Score: Sync {
    fn weight(&self) -> i64;
    fn score(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> i64;
    /// Brings scores to 0..=100.
    fn normalize(&self, _scores: &mut [i64]) {}
}

/// Scales to 0..=100 by the highest one; `reverse` where less is better.
pub(crate) fn scale(scores: &mut [i64], reverse: bool) {
    let highest = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        let scaled = if highest == 0 { 0 } else { *score * MAX_SCORE / highest };
        *score = if reverse { MAX_SCORE - scaled } else { scaled };
    }
}

/// Why a pod is nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    pub(crate) rejections: BTreeMap<String, Rejection>,
    /// What preemption had to say.
    pub(crate) preemption: String,
}

impl Diagnosis {
    /// Upstream's wording.
    pub(crate) fn message(&self) -> String {
        if self.rejections.is_empty() {
            return "no nodes available to schedule pods".into();
        }
        let reasons = self.rejections.values().flat_map(|rejection| rejection.reasons.iter().cloned());
        let text = counted(self.rejections.len(), reasons);
        if self.preemption.is_empty() { text } else { format!("{text} preemption: {}", self.preemption) }
    }
}

/// `0/3 nodes are available: 1 Insufficient cpu, 2 Too many pods.`
pub(crate) fn counted(nodes: usize, reasons: impl Iterator<Item = String>) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    reasons.for_each(|reason| *counts.entry(reason).or_default() += 1);
    let mut parts: Vec<_> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort();
    format!("0/{nodes} nodes are available: {}.", parts.join(", "))
}

/// Whether every filter lets the pod on this node.
pub(crate) fn fits(cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Rejection> {
    plugins::FILTERS.iter().try_for_each(|plugin| plugin.filter(cycle, node))
}

/// The best node for a pod; `tie` breaks ties, so that equals take turns.
pub(crate) fn schedule(pod: &PodInfo, snapshot: &Snapshot, tie: u64) -> Result<String, Diagnosis> {
    let cycle = Cycle::new(pod, snapshot);
    let mut diagnosis = Diagnosis::default();
    let mut feasible = Vec::new();
    for node in snapshot.nodes() {
        match fits(&cycle, node) {
            Ok(()) => feasible.push(node),
            Err(rejection) => drop(diagnosis.rejections.insert(node.name.clone(), rejection)),
        }
    }
    let nominated = pod.wishes.as_ref().and_then(|wishes| wishes.nominated_node.as_deref());
    if let Some(node) = feasible.iter().find(|node| Some(node.name.as_str()) == nominated) {
        return Ok(node.name.clone());
    }
    best(&cycle, &feasible, tie).map(|node| node.name.clone()).ok_or(diagnosis)
}

fn best<'a>(cycle: &Cycle<'_>, feasible: &[&'a NodeInfo], tie: u64) -> Option<&'a NodeInfo> {
    if let [only] = feasible {
        return Some(only);
    }
    let mut totals = vec![0; feasible.len()];
    for plugin in plugins::SCORES {
        let mut scores: Vec<i64> = feasible.iter().map(|node| plugin.score(cycle, node)).collect();
        plugin.normalize(&mut scores);
        for (total, score) in totals.iter_mut().zip(scores) {
            *total += score * plugin.weight();
        }
    }
    let spread =
        |name: &str| name.bytes().fold(tie | 1, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let ranked = feasible.iter().zip(totals);
    ranked.max_by_key(|(node, total)| (*total, Reverse(spread(&node.name)))).map(|(node, _)| *node)
}
