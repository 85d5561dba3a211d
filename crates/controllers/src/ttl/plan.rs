//! How long, for how many nodes. Pure.

use k8s_openapi::api::core::v1::Node;

pub(super) const ANNOTATION: &str = "node.alpha.kubernetes.io/ttl";

/// Fewest and most nodes of a step, and its seconds. Steps overlap, so that a node more or less does not change all others
/// again and again.
const STEPS: [(usize, usize, u32); 5] =
    [(0, 100, 0), (90, 500, 15), (450, 1000, 30), (900, 2000, 60), (1800, usize::MAX, 300)];

/// The step for so many nodes, coming from another.
pub(super) fn step(mut step: usize, nodes: usize) -> usize {
    while STEPS.get(step).is_some_and(|(_, most, _)| nodes > *most) {
        step += 1;
    }
    while STEPS.get(step).is_some_and(|(fewest, _, _)| nodes < *fewest) {
        step -= 1;
    }
    step
}

/// The annotation's value.
pub(super) fn seconds(step: usize) -> String {
    STEPS.get(step).map_or(0, |(_, _, seconds)| *seconds).to_string()
}

/// Whether the node is told something else.
pub(super) fn is_stale(node: &Node, seconds: &str) -> bool {
    let told = node.metadata.annotations.as_ref().and_then(|annotations| annotations.get(ANNOTATION));
    node.metadata.deletion_timestamp.is_none() && told.is_none_or(|told| told != seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn larger_clusters_ask_less_often_and_a_node_more_or_less_changes_nothing() {
        let mut now = 0;
        let mut with = |nodes: usize| {
            now = step(now, nodes);
            seconds(now)
        };
        for (nodes, wanted) in [(1, "0"), (100, "0"), (101, "15"), (95, "15"), (89, "0"), (5000, "300"), (1800, "300")]
        {
            assert_eq!(with(nodes), wanted, "{nodes}");
        }
        assert_eq!(["1799", "900", "899", "449", "0"].map(|n| with(n.parse().unwrap())), ["60", "60", "30", "15", "0"]);
    }

    #[test]
    fn only_nodes_that_are_told_something_else_are_written() {
        let node = |meta: serde_json::Value| serde_json::from_value::<Node>(json!({"metadata": meta})).unwrap();
        assert!(is_stale(&node(json!({})), "0"));
        assert!(is_stale(&node(json!({"annotations": {ANNOTATION: "15"}})), "0"));
        assert!(!is_stale(&node(json!({"annotations": {ANNOTATION: "0"}})), "0"));
        assert!(!is_stale(&node(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"})), "0"));
    }
}
