//! How many pods each node has that match a selector: counted once, then kept up to date pod by pod.

use std::collections::{BTreeMap, HashMap};

use crate::pod::{PodInfo, PodTerm};

/// Labels of namespaces.
pub(crate) type Namespaces = HashMap<String, BTreeMap<String, String>>;

/// Selectors that are counted at most; the one that was not asked for longest makes room.
const CAPACITY: usize = 512;

#[derive(Debug)]
struct Counter {
    /// All of them must match.
    terms: Vec<PodTerm>,
    /// Pods on their way out do not count.
    staying: bool,
    nodes: HashMap<String, i64>,
    used: u64,
}

impl Counter {
    fn counts(&self, pod: &PodInfo, namespaces: &Namespaces) -> bool {
        !(self.staying && pod.terminating) && self.terms.iter().all(|term| term.matches(pod, namespaces))
    }
}

/// The counters that somebody asked for.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    counters: HashMap<String, Counter>,
    clock: u64,
}

/// What names a counter.
pub(crate) fn key(terms: &[PodTerm], staying: bool) -> String {
    let mut key = String::from(if staying { "staying" } else { "all" });
    for term in terms {
        key.push('&');
        key.push_str(&term.id);
    }
    key
}

impl Counts {
    /// Counts these from now on. `placed` are all pods that are there, with their nodes.
    pub(crate) fn watch<'a>(
        &mut self,
        terms: &[PodTerm],
        staying: bool,
        namespaces: &Namespaces,
        placed: impl Iterator<Item = (&'a PodInfo, &'a str)>,
    ) {
        self.clock += 1;
        let key = key(terms, staying);
        if let Some(counter) = self.counters.get_mut(&key) {
            counter.used = self.clock;
            return;
        }
        if self.counters.len() >= CAPACITY
            && let Some(oldest) = self.counters.iter().min_by_key(|(_, c)| c.used).map(|(key, _)| key.clone())
        {
            self.counters.remove(&oldest);
        }
        let mut counter = Counter { terms: terms.to_vec(), staying, nodes: HashMap::new(), used: self.clock };
        for (pod, node) in placed {
            if counter.counts(pod, namespaces) {
                *counter.nodes.entry(node.to_owned()).or_default() += 1;
            }
        }
        self.counters.insert(key, counter);
    }

    /// Pods by node; nothing of what is not counted.
    pub(crate) fn of(&self, terms: &[PodTerm], staying: bool) -> impl Iterator<Item = (&str, i64)> {
        let counter = self.counters.get(&key(terms, staying));
        counter.into_iter().flat_map(|counter| counter.nodes.iter().map(|(node, count)| (node.as_str(), *count)))
    }

    /// A pod came to a node (1) or left it (-1).
    pub(crate) fn shift(&mut self, pod: &PodInfo, node: &str, by: i64, namespaces: &Namespaces) {
        for counter in self.counters.values_mut() {
            if !counter.counts(pod, namespaces) {
                continue;
            }
            let count = counter.nodes.entry(node.to_owned()).or_default();
            *count += by;
            if *count == 0 {
                counter.nodes.remove(node);
            }
        }
    }

    /// What selects namespaces by their labels has to be counted anew.
    pub(crate) fn namespaces_changed(&mut self) {
        self.counters.retain(|_, counter| counter.terms.iter().all(|term| term.namespace_selector.is_none()));
    }
}

/// What pods that are placed say about others: how many of them on each node, by what they say.
#[derive(Debug, Default)]
pub(crate) struct Opinions {
    by_term: HashMap<(Kind, String), Opinion>,
}

/// What an opinion is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Required anti-affinity.
    Repels,
    /// Required affinity.
    Needs,
    /// Preferred, with its weight; negative for anti-affinity.
    Likes(i32),
}

/// One opinion and where those are who have it.
#[derive(Debug)]
pub(crate) struct Opinion {
    pub(crate) kind: Kind,
    pub(crate) term: PodTerm,
    pub(crate) nodes: HashMap<String, i64>,
}

impl Opinions {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Opinion> {
        self.by_term.values()
    }

    pub(crate) fn shift(&mut self, pod: &PodInfo, node: &str, by: i64) {
        for (kind, term) in pod.opinions() {
            let key = (kind, format!("{}@{}", term.id, term.topology_key));
            let opinion = self.by_term.entry(key.clone()).or_insert_with(|| Opinion {
                kind,
                term: term.clone(),
                nodes: HashMap::new(),
            });
            let count = opinion.nodes.entry(node.to_owned()).or_default();
            *count += by;
            if *count == 0 {
                opinion.nodes.remove(node);
                if opinion.nodes.is_empty() {
                    self.by_term.remove(&key);
                }
            }
        }
    }
}
