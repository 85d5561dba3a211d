//! Affinity and anti-affinity between pods, in both directions.

use std::collections::HashMap;

use crate::framework::{Cycle, Filter, MAX_SCORE, Rejection, Score};
use crate::pod::{PodInfo, PodTerm};
use crate::snapshot::counts::{Kind, Namespaces};
use crate::snapshot::{NodeInfo, Snapshot};

pub(crate) struct InterPodAffinity;

type Domain = (String, String);
type Tally = HashMap<Domain, i64>;

/// Domains (topology key and value) that attract or repel the pod, with how many pods make them do so.
#[derive(Clone, Default)]
pub(crate) struct State<'a> {
    affinity: Vec<PodTerm>,
    namespaces: Option<&'a Namespaces>,
    /// Where a pod is that all required terms want.
    near: Tally,
    /// Where a pod is that the pod does not want beside it.
    avoided: Tally,
    /// Where a pod is that does not want this one beside it.
    repelled: Tally,
    preferred: Tally,
}

fn add(tally: &mut Tally, term: &PodTerm, node: &NodeInfo, by: i64) {
    if let Some(value) = node.labels.get(&term.topology_key) {
        *tally.entry((term.topology_key.clone(), value.clone())).or_default() += by;
    }
}

impl<'a> State<'a> {
    pub(crate) fn new(pod: &PodInfo, snapshot: &'a Snapshot, hard_affinity: i64) -> Self {
        let affinity = pod.affinity();
        let mut state = Self { affinity, namespaces: Some(&snapshot.namespaces), ..Self::default() };
        let on = |name: &str| snapshot.node(name);
        for opinion in snapshot.opinions.iter().filter(|o| o.term.matches(pod, &snapshot.namespaces)) {
            let (tally, weight) = match opinion.kind {
                Kind::Repels => (&mut state.repelled, 1),
                Kind::Needs => (&mut state.preferred, hard_affinity),
                Kind::Likes(weight) => (&mut state.preferred, i64::from(weight)),
            };
            for (node, count) in opinion.nodes.iter().filter_map(|(name, count)| Some((on(name)?, count))) {
                add(tally, &opinion.term, node, count * weight);
            }
        }
        let counted = |terms: &[PodTerm]| -> Vec<(&NodeInfo, i64)> {
            let counts = snapshot.counts.of(terms, false);
            counts.filter_map(|(name, count)| Some((on(name)?, count))).collect()
        };
        for (node, count) in counted(&state.affinity) {
            state.affinity.iter().for_each(|term| add(&mut state.near, term, node, count));
        }
        for term in &pod.anti_affinity {
            let counts = counted(std::slice::from_ref(term));
            counts.into_iter().for_each(|(node, count)| add(&mut state.avoided, term, node, count));
        }
        for (weight, term) in pod.preferred() {
            let counts = counted(std::slice::from_ref(term));
            counts.into_iter().for_each(|(node, n)| add(&mut state.preferred, term, node, n * i64::from(weight)));
        }
        state
    }

    /// As if another pod came to a node (1) or left it (-1).
    pub(crate) fn shift(&mut self, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, by: i64) {
        let Some(namespaces) = self.namespaces else { return };
        let all = !self.affinity.is_empty() && self.affinity.iter().all(|term| term.matches(other, namespaces));
        if all {
            self.affinity.iter().for_each(|term| add(&mut self.near, term, node, by));
        }
        for term in pod.anti_affinity.iter().filter(|term| term.matches(other, namespaces)) {
            add(&mut self.avoided, term, node, by);
        }
        for term in other.anti_affinity.iter().filter(|term| term.matches(pod, namespaces)) {
            add(&mut self.repelled, term, node, by);
        }
    }

    /// The first of a group that wants to be together has nobody to be with.
    fn is_first(&self, pod: &PodInfo) -> bool {
        let Some(namespaces) = self.namespaces else { return false };
        self.near.values().all(|count| *count <= 0) && self.affinity.iter().all(|term| term.matches(pod, namespaces))
    }
}

fn within(tally: &Tally, node: &NodeInfo) -> bool {
    tally.iter().any(|((key, value), count)| *count > 0 && node.labels.get(key) == Some(value))
}

impl Filter for InterPodAffinity {
    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Rejection> {
        let state = &cycle.affinity;
        let near = |term: &PodTerm| {
            let domain = node.labels.get(&term.topology_key).map(|value| (term.topology_key.clone(), value.clone()));
            domain.is_some_and(|domain| state.near.get(&domain).is_some_and(|count| *count > 0))
        };
        let placed = |term: &PodTerm| node.labels.contains_key(&term.topology_key);
        if !state.affinity.iter().all(placed) || !(state.affinity.iter().all(near) || state.is_first(cycle.pod)) {
            return Err(Rejection::unresolvable("node(s) didn't match pod affinity rules"));
        }
        if within(&state.avoided, node) {
            return Err(Rejection::resolvable("node(s) didn't match pod anti-affinity rules"));
        }
        if within(&state.repelled, node) {
            return Err(Rejection::resolvable("node(s) didn't satisfy existing pods anti-affinity rules"));
        }
        Ok(())
    }
}

impl Score for InterPodAffinity {
    fn score(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> i64 {
        let domains = cycle.affinity.preferred.iter();
        domains.filter(|((key, value), _)| node.labels.get(key) == Some(value)).map(|(_, weight)| weight).sum()
    }

    fn normalize(&self, scores: &mut [i64]) {
        let low = scores.iter().copied().min().unwrap_or(0);
        let span = scores.iter().copied().max().unwrap_or(0) - low;
        for score in scores {
            *score = if span == 0 { 0 } else { (*score - low) * MAX_SCORE / span };
        }
    }
}
