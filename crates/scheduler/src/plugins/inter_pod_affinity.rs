//! Affinity and anti-affinity between pods.

use std::collections::{HashMap, HashSet};

use crate::framework::{Cycle, Filter, MAX_SCORE, Rejection, Score};
use crate::pod::{PodInfo, PodTerm};
use crate::snapshot::{NodeInfo, Snapshot};

pub(crate) struct InterPodAffinity;

type Domain = (String, String);

/// Domains (topology key and value) that attract or repel the pod.
#[derive(Default)]
pub(crate) struct State {
    /// For each required term, where a pod matches it.
    near: Vec<HashSet<String>>,
    /// Where a pod is that the pod does not want beside it.
    avoided: HashSet<Domain>,
    /// Where a pod is that does not want this one beside it.
    repelled: HashSet<Domain>,
    preferred: HashMap<Domain, i64>,
    /// The first of a group that wants to be together has nobody to be with.
    first: bool,
}

impl State {
    pub(crate) fn new(pod: &PodInfo, snapshot: &Snapshot) -> Self {
        let mut state = Self::default();
        for (other, node) in snapshot.repelling() {
            for term in other.anti_affinity.iter().filter(|term| term.matches(pod)) {
                state.repelled.extend(domain(term, node));
            }
        }
        let Some(wishes) = &pod.wishes else { return state };
        if wishes.affinity.is_empty() && wishes.preferred_pods.is_empty() && pod.anti_affinity.is_empty() {
            return state;
        }
        state.near = vec![HashSet::new(); wishes.affinity.len()];
        for node in snapshot.nodes() {
            for other in node.pods.values().filter(|other| !other.terminal) {
                state.count(pod, other, node);
            }
        }
        let alone = state.near.iter().all(HashSet::is_empty);
        state.first = alone && wishes.affinity.iter().all(|term| term.matches(pod));
        state
    }

    fn count(&mut self, pod: &PodInfo, other: &PodInfo, node: &NodeInfo) {
        for term in pod.anti_affinity.iter().filter(|term| term.matches(other)) {
            self.avoided.extend(domain(term, node));
        }
        let Some(wishes) = &pod.wishes else { return };
        let matching = |terms: &[PodTerm]| terms.iter().all(|term| term.matches(other));
        if matching(&wishes.affinity) {
            for (term, near) in wishes.affinity.iter().zip(&mut self.near) {
                near.extend(domain(term, node).map(|(_, value)| value));
            }
        }
        for (weight, term) in wishes.preferred_pods.iter().filter(|(_, term)| term.matches(other)) {
            if let Some(domain) = domain(term, node) {
                *self.preferred.entry(domain).or_default() += i64::from(*weight);
            }
        }
    }
}

fn domain(term: &PodTerm, node: &NodeInfo) -> Option<Domain> {
    node.labels.get(&term.topology_key).map(|value| (term.topology_key.clone(), value.clone()))
}

impl Filter for InterPodAffinity {
    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Rejection> {
        let state = &cycle.affinity;
        let terms = cycle.pod.wishes.iter().flat_map(|wishes| &wishes.affinity);
        let satisfied = |(term, near): (&PodTerm, &HashSet<String>)| {
            node.labels.get(&term.topology_key).is_some_and(|value| state.first || near.contains(value))
        };
        if !terms.zip(&state.near).all(satisfied) {
            return Err(Rejection::unresolvable("node(s) didn't match pod affinity rules"));
        }
        let within = |domains: &HashSet<Domain>| domains.iter().any(|(key, value)| node.labels.get(key) == Some(value));
        if within(&state.avoided) {
            return Err(Rejection::resolvable("node(s) didn't match pod anti-affinity rules"));
        }
        if within(&state.repelled) {
            return Err(Rejection::resolvable("node(s) didn't satisfy existing pods anti-affinity rules"));
        }
        Ok(())
    }
}

impl Score for InterPodAffinity {
    fn weight(&self) -> i64 {
        2
    }

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
