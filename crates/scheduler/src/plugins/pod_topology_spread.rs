//! Topology spread constraints; without any, pods of one controller are spread over nodes and zones.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::taint_toleration::tolerated;
use crate::framework::{Cycle, Filter, MAX_SCORE, Rejection, Score};
use crate::pod::{PodInfo, SpreadConstraint};
use crate::snapshot::counts::Namespaces;
use crate::snapshot::{NodeInfo, Snapshot};

pub(crate) struct PodTopologySpread;

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// How many matching pods each domain of each constraint has.
#[derive(Clone, Default)]
pub(crate) struct State<'a> {
    namespaces: Option<&'a Namespaces>,
    constraints: Vec<(&'a SpreadConstraint, BTreeMap<&'a str, i64>)>,
    /// Pods of the same controller by zone, where no constraint is given.
    zones: BTreeMap<&'a str, i64>,
}

impl<'a> State<'a> {
    pub(crate) fn new(pod: &'a PodInfo, snapshot: &'a Snapshot) -> Self {
        let Some(wishes) = &pod.wishes else { return Self::default() };
        if wishes.spread.is_empty() {
            return Self { zones: zones(pod, snapshot), ..Self::default() };
        }
        let counted = wishes.spread.iter().map(|constraint| (constraint, domains(constraint, pod, snapshot)));
        Self { namespaces: Some(&snapshot.namespaces), constraints: counted.collect(), zones: BTreeMap::new() }
    }

    /// As if another pod came to a node (1) or left it (-1).
    pub(crate) fn shift(&mut self, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, by: i64) {
        let Some(namespaces) = self.namespaces else { return };
        for (constraint, domains) in &mut self.constraints {
            let matches = !other.terminating && constraint.term.matches(other, namespaces);
            let domain = node.labels.get(&constraint.topology_key).filter(|_| matches && counts(constraint, pod, node));
            if let Some(count) = domain.and_then(|domain| domains.get_mut(domain.as_str())) {
                *count += by;
            }
        }
    }
}

fn zones<'a>(pod: &PodInfo, snapshot: &'a Snapshot) -> BTreeMap<&'a str, i64> {
    let mut zones = BTreeMap::new();
    let Some(owner) = &pod.owner else { return zones };
    for node in snapshot.nodes() {
        if let Some(zone) = node.labels.get(ZONE) {
            *zones.entry(zone.as_str()).or_default() += siblings(owner, node);
        }
    }
    zones
}

fn siblings(owner: &str, node: &NodeInfo) -> i64 {
    node.owners.get(owner).copied().map_or(0, i64::from)
}

fn domains<'a>(constraint: &SpreadConstraint, pod: &PodInfo, snapshot: &'a Snapshot) -> BTreeMap<&'a str, i64> {
    let matching: HashMap<&str, i64> = snapshot.counts.of(std::slice::from_ref(&constraint.term), true).collect();
    let mut domains = BTreeMap::new();
    // A node that has only some of the keys of the pod's constraints counts for none of them.
    let keys = || pod.wishes.iter().flat_map(|wishes| &wishes.spread).filter(|other| other.hard == constraint.hard);
    let complete = |node: &NodeInfo| keys().all(|other| node.labels.contains_key(&other.topology_key));
    for node in snapshot.nodes().filter(|node| complete(node) && counts(constraint, pod, node)) {
        let Some(domain) = node.labels.get(&constraint.topology_key) else { continue };
        *domains.entry(domain.as_str()).or_default() += matching.get(node.name.as_str()).copied().unwrap_or(0);
    }
    domains
}

/// Whether the constraint takes this node into account at all.
fn counts(constraint: &SpreadConstraint, pod: &PodInfo, node: &NodeInfo) -> bool {
    let tainted = || node.taint(&["NoSchedule", "NoExecute"], |taint| tolerated(taint, pod.tolerations())).is_some();
    (!constraint.honor_affinity || super::node_affinity_matches(pod, node)) && (!constraint.honor_taints || !tainted())
}

impl Filter for PodTopologySpread {
    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Rejection> {
        const REASON: &str = "node(s) didn't match pod topology spread constraints";
        for (constraint, domains) in cycle.spread.constraints.iter().filter(|(constraint, _)| constraint.hard) {
            let Some(domain) = node.labels.get(&constraint.topology_key) else {
                return Err(Rejection::unresolvable(format!("{REASON} (missing required label)")));
            };
            let fewest = if domains.len() < constraint.min_domains { 0 } else { least(domains) };
            let own = cycle.spread.namespaces.map_or(0, |all| i64::from(constraint.term.matches(cycle.pod, all)));
            let here = domains.get(domain.as_str()).copied().unwrap_or(0);
            if here + own - fewest > constraint.max_skew {
                return Err(Rejection::resolvable(REASON));
            }
        }
        Ok(())
    }
}

fn least(domains: &BTreeMap<&str, i64>) -> i64 {
    domains.values().copied().min().unwrap_or(0)
}

impl Score for PodTopologySpread {
    fn score(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> i64 {
        if cycle.spread.constraints.is_empty() {
            let Some(owner) = &cycle.pod.owner else { return 0 };
            let zone = node.labels.get(ZONE).and_then(|zone| cycle.spread.zones.get(zone.as_str()));
            // A crowded zone weighs less than a crowded node.
            return siblings(owner, node) * 2 + zone.copied().unwrap_or(0);
        }
        let soft = cycle.spread.constraints.iter().filter(|(constraint, _)| !constraint.hard);
        let crowd = soft.map(|(constraint, domains)| {
            let domain = node.labels.get(&constraint.topology_key);
            let missing = || domains.values().sum::<i64>() + 1;
            let here = domain.map_or_else(missing, |domain| domains.get(domain.as_str()).copied().unwrap_or(0));
            let weight = if constraint.topology_key == HOSTNAME { 1 } else { 2 };
            here * weight
        });
        crowd.sum()
    }

    fn normalize(&self, scores: &mut [i64]) {
        let distinct: HashSet<i64> = scores.iter().copied().collect();
        let (low, high) = (distinct.iter().min().copied().unwrap_or(0), distinct.iter().max().copied().unwrap_or(0));
        for score in scores {
            *score = if high == 0 { MAX_SCORE } else { MAX_SCORE * (high + low - *score) / high };
        }
    }
}
