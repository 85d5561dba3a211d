//! When a pod has to go. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};

/// The taints of a node that drive pods away.
pub(super) fn executing(node: &Node) -> Vec<Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| taint.effect == "NoExecute").cloned().collect()
}

/// When the pod has to go, if at all; a time in the past is now. `since` is for taints without a time.
pub(super) fn due(pod: &Pod, taints: &[Taint], since: Timestamp) -> Option<Timestamp> {
    let tolerations: Vec<_> = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten()).collect();
    let ends = taints.iter().filter_map(|taint| {
        let since = taint.time_added.as_ref().map_or(since, |time| time.0);
        let matching = || tolerations.iter().filter(|toleration| client::tolerates(toleration, taint));
        if matching().count() == 0 {
            return Some(since);
        }
        // Of several tolerations the one that ends first counts.
        let seconds = matching().filter_map(|toleration| toleration.toleration_seconds).min()?;
        Some(since.checked_add(SignedDuration::from_secs(seconds.max(0))).unwrap_or(Timestamp::MAX))
    });
    ends.min()
}

/// The time between, rounded up a little.
pub(super) fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default() + Duration::from_millis(5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn second(n: i64) -> Timestamp {
        Timestamp::from_second(n).unwrap()
    }

    fn end(tolerations: Value, taints: Value) -> Option<i64> {
        let pod =
            serde_json::from_value(json!({"metadata": {}, "spec": {"containers": [], "tolerations": tolerations}}));
        let taints: Vec<Taint> = serde_json::from_value(taints).unwrap();
        due(&pod.unwrap(), &taints, second(1000)).map(Timestamp::as_second)
    }

    #[test]
    fn tolerations_end() {
        let taint = json!({"key": "k", "effect": "NoExecute"});
        let dated = json!({"key": "j", "effect": "NoExecute", "timeAdded": "1970-01-01T00:00:10Z"});
        let exists =
            |key: &str, seconds: Option<i64>| json!({"key": key, "operator": "Exists", "tolerationSeconds": seconds});
        assert_eq!(end(json!([]), json!([taint])), Some(1000));
        assert_eq!(end(json!([exists("k", None)]), json!([taint])), None);
        assert_eq!(end(json!([exists("k", Some(300))]), json!([taint])), Some(1300));
        assert_eq!(end(json!([exists("k", Some(300)), exists("k", Some(20))]), json!([taint])), Some(1020));
        assert_eq!(end(json!([exists("j", Some(300))]), json!([dated])), Some(310));
        assert_eq!(end(json!([exists("k", None)]), json!([taint, dated])), Some(10));
        assert_eq!(end(json!([{"operator": "Exists"}]), json!([taint, dated])), None);
    }
}
