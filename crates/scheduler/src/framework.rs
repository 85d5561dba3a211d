//! Filter, then score: the decision where a pod goes. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::plugins;
use crate::plugins::volume_binding::VolumePlan;
use crate::pod::PodInfo;
use crate::profile::Profile;
use crate::snapshot::{NodeInfo, Snapshot};

/// The highest score of a node by one plugin.
pub(crate) const MAX_SCORE: i64 = 100;

/// Why a node is not fit for a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) reasons: Vec<String>,
    /// False when no removal of pods would help.
    pub(crate) resolvable: bool,
    /// Who said no.
    pub(crate) plugin: &'static str,
}

impl Rejection {
    /// Removing pods may help.
    pub(crate) fn resolvable(reason: impl Into<String>) -> Self {
        Self { reasons: vec![reason.into()], resolvable: true, plugin: "" }
    }

    /// Removing pods will not help.
    pub(crate) fn unresolvable(reason: impl Into<String>) -> Self {
        Self { reasons: vec![reason.into()], resolvable: false, plugin: "" }
    }
}

/// What is computed once for a pod, over all nodes.
#[derive(Clone)]
pub(crate) struct Cycle<'a> {
    pub(crate) pod: &'a PodInfo,
    pub(crate) profile: &'a Profile,
    pub(crate) spread: plugins::pod_topology_spread::State<'a>,
    pub(crate) affinity: plugins::inter_pod_affinity::State<'a>,
    pub(crate) volumes: plugins::volume_binding::State<'a>,
    pub(crate) restrictions: plugins::volume_restrictions::State,
}

impl<'a> Cycle<'a> {
    /// Or why the pod can be on no node at all.
    pub(crate) fn new(pod: &'a PodInfo, profile: &'a Profile, snapshot: &'a Snapshot) -> Result<Self, String> {
        let has = |name: &str| profile.filters.iter().any(|(filter, _)| *filter == name);
        let volumes = if has("VolumeBinding") {
            plugins::volume_binding::State::new(pod, snapshot)?
        } else {
            plugins::volume_binding::State::default()
        };
        Ok(Self {
            pod,
            profile,
            volumes,
            restrictions: plugins::volume_restrictions::State::new(pod, snapshot),
            spread: plugins::pod_topology_spread::State::new(pod, snapshot),
            affinity: plugins::inter_pod_affinity::State::new(pod, snapshot, profile.hard_affinity),
        })
    }

    /// As if another pod came to a node (1) or left it (-1).
    pub(crate) fn shift(&mut self, other: &PodInfo, node: &NodeInfo, by: i64) {
        self.affinity.shift(self.pod, other, node, by);
        self.spread.shift(self.pod, other, node, by);
    }
}

/// Where a pod goes, and what is to be written before.
#[derive(Debug, PartialEq)]
pub(crate) struct Placement {
    pub(crate) node: String,
    pub(crate) volumes: VolumePlan,
}

/// Says whether a pod can be on a node.
pub(crate) trait Filter: Sync {
    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Rejection>;
}

/// Says how good a node is for a pod.
pub(crate) trait Score: Sync {
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
    /// Why no node has to be looked at.
    pub(crate) nowhere: Option<String>,
    /// What preemption had to say.
    pub(crate) preemption: String,
}

impl Diagnosis {
    /// The plugins that said no.
    pub(crate) fn plugins(&self) -> HashSet<&'static str> {
        self.rejections.values().map(|rejection| rejection.plugin).collect()
    }

    /// Upstream's wording.
    pub(crate) fn message(&self) -> String {
        if self.rejections.is_empty() {
            return "no nodes available to schedule pods".into();
        }
        let nodes = self.rejections.len();
        let reasons = self.rejections.values().flat_map(|rejection| rejection.reasons.iter().cloned());
        let text = match &self.nowhere {
            Some(why) => format!("0/{nodes} nodes are available: {why}."),
            None => counted(nodes, reasons),
        };
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
    cycle.profile.filters.iter().try_for_each(|(name, plugin)| {
        plugin.filter(cycle, node).map_err(|rejection| Rejection { plugin: name, ..rejection })
    })
}

/// As [`fits`]; also with the pods that were promised room there.
fn fits_beside_nominated(cycle: &Cycle<'_>, node: &NodeInfo, snapshot: &Snapshot) -> Result<(), Rejection> {
    let promised: Vec<_> = snapshot.nominated(&node.name, cycle.pod).collect();
    if !promised.is_empty() {
        let (mut with, mut full) = (cycle.clone(), node.clone());
        for other in promised {
            with.shift(other, node, 1);
            full.add(Arc::clone(other));
        }
        fits(&with, &full)?;
    }
    fits(cycle, node)
}

/// The best node for a pod; `tie` breaks ties, so that equals take turns. The snapshot has to be prepared for the pod.
pub(crate) fn schedule(
    pod: &PodInfo,
    profile: &Profile,
    snapshot: &Snapshot,
    tie: u64,
) -> Result<Placement, Diagnosis> {
    let mut diagnosis = Diagnosis::default();
    let cycle = match Cycle::new(pod, profile, snapshot) {
        Ok(cycle) => cycle,
        Err(why) => {
            let rejection = Rejection { plugin: "VolumeBinding", ..Rejection::unresolvable(&*why) };
            diagnosis.rejections = snapshot.nodes().map(|node| (node.name.clone(), rejection.clone())).collect();
            diagnosis.nowhere = Some(why);
            return Err(diagnosis);
        }
    };
    let mut feasible = Vec::new();
    for node in snapshot.nodes() {
        match fits_beside_nominated(&cycle, node, snapshot) {
            Ok(()) => feasible.push(node),
            Err(rejection) => drop(diagnosis.rejections.insert(node.name.clone(), rejection)),
        }
    }
    let nominated = pod.wishes.as_ref().and_then(|wishes| wishes.nominated_node.as_deref());
    let nominated = feasible.iter().find(|node| Some(node.name.as_str()) == nominated).copied();
    let Some(node) = nominated.or_else(|| best(&cycle, &feasible, tie)) else { return Err(diagnosis) };
    // It has passed the filter: there is a plan.
    let volumes = cycle.volumes.plan(node).unwrap_or_default();
    Ok(Placement { node: node.name.clone(), volumes })
}

fn best<'a>(cycle: &Cycle<'_>, feasible: &[&'a NodeInfo], tie: u64) -> Option<&'a NodeInfo> {
    if let [only] = feasible {
        return Some(only);
    }
    let mut totals = vec![0; feasible.len()];
    for (_, weight, plugin) in &cycle.profile.scores {
        let mut scores: Vec<i64> = feasible.iter().map(|node| plugin.score(cycle, node)).collect();
        plugin.normalize(&mut scores);
        for (total, score) in totals.iter_mut().zip(scores) {
            *total += score * weight;
        }
    }
    let spread =
        |name: &str| name.bytes().fold(tie | 1, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let ranked = feasible.iter().zip(totals);
    ranked.max_by_key(|(node, total)| (*total, Reverse(spread(&node.name)))).map(|(node, _)| *node)
}
