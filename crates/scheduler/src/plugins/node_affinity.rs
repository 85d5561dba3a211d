//! Node selector and node affinity.

use crate::framework::{Cycle, Filter, Rejection, Score, scale};
use crate::pod::PodInfo;
use crate::snapshot::NodeInfo;

pub(crate) struct NodeAffinity;

/// Whether selector and required affinity let the pod on this node.
pub(crate) fn matches(pod: &PodInfo, node: &NodeInfo) -> bool {
    let Some(wishes) = &pod.wishes else { return true };
    let selected = wishes.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
    let required = |terms: &Vec<client::NodeTerm>| terms.iter().any(|term| term.matches(&node.name, &node.labels));
    selected && wishes.required.as_ref().is_none_or(required)
}

impl Filter for NodeAffinity {
    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Rejection> {
        if matches(cycle.pod, node) {
            return Ok(());
        }
        Err(Rejection::unresolvable("node(s) didn't match Pod's node affinity/selector"))
    }
}

impl Score for NodeAffinity {
    fn score(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> i64 {
        let preferred = cycle.pod.wishes.iter().flat_map(|wishes| &wishes.preferred);
        preferred.filter(|(_, term)| term.matches(&node.name, &node.labels)).map(|(weight, _)| i64::from(*weight)).sum()
    }

    fn normalize(&self, scores: &mut [i64]) {
        scale(scores, false);
    }
}
