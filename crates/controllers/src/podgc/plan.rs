//! Which pods are to go. Pure.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use crate::common::pods;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    /// Its node is gone, if that is so.
    Orphan,
    /// It was to go before it got a node.
    Delete,
}

pub(super) fn judge(pod: &Pod, node_known: bool) -> Verdict {
    match pods::node(pod) {
        None if pods::is_terminating(pod) => Verdict::Delete,
        Some(_) if !node_known => Verdict::Orphan,
        _ => Verdict::Keep,
    }
}

/// The oldest finished pods beyond the limit.
pub(super) fn surplus(mut finished: Vec<Arc<Pod>>, limit: usize) -> Vec<Arc<Pod>> {
    let surplus = finished.len().saturating_sub(limit);
    if limit == 0 || surplus == 0 {
        return Vec::new();
    }
    finished.sort_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
    finished.truncate(surplus);
    finished
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, node: Option<&str>, created: &str, deleted: bool) -> Pod {
        let deleted = deleted.then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(
            json!({"metadata": {"name": name, "creationTimestamp": created, "deletionTimestamp": deleted},
            "spec": {"nodeName": node, "containers": []}}),
        )
        .unwrap()
    }

    #[test]
    fn verdicts() {
        let at = "2026-01-01T00:00:00Z";
        assert_eq!(judge(&pod("a", None, at, false), false), Verdict::Keep);
        assert_eq!(judge(&pod("a", None, at, true), false), Verdict::Delete);
        assert_eq!(judge(&pod("a", Some("n"), at, false), true), Verdict::Keep);
        assert_eq!(judge(&pod("a", Some("n"), at, true), false), Verdict::Orphan);
    }

    #[test]
    fn the_oldest_beyond_the_limit_go() {
        let pods: Vec<_> = [("b", 2), ("a", 1), ("c", 3)]
            .map(|(name, day)| Arc::new(pod(name, None, &format!("2026-01-0{day}T00:00:00Z"), false)))
            .into();
        let names = |limit| -> Vec<String> {
            surplus(pods.clone(), limit).iter().filter_map(|pod| pod.metadata.name.clone()).collect()
        };
        assert_eq!((names(2), names(3), names(0)), (vec!["a".to_owned()], vec![], vec![]));
    }
}
