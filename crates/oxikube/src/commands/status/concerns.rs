//! What is not well in a cluster, and why. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use serde::Serialize;

use super::leaders::Leader;
use crate::why::{self, Answer};

/// A new pod may take this long before it is a concern.
const YOUNG: SignedDuration = SignedDuration::from_secs(15);
/// So may a pod that ends, beyond the time that it was given.
const LATE: SignedDuration = SignedDuration::from_secs(30);
/// A certificate with fewer days left should be renewed.
const DAYS: i64 = 30;
/// Of the disk, so much should be free.
const FREE_PERCENT: u64 = 15;

/// Something that is not well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Concern {
    /// What it is about, as `pod default/web`.
    pub(super) what: String,
    pub(super) why: String,
    /// What to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) remedy: String,
}

impl Concern {
    pub(super) fn new(what: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), remedy: remedy.into() }
    }

    fn of(what: String, answer: Answer) -> Option<Self> {
        (!answer.healthy).then(|| Self::new(what, answer.cause, answer.remedy))
    }
}

/// A node that does not take pods, or runs short of something. Taints alone are somebody's intent.
pub(super) fn node(node: &Node, now: Timestamp) -> Option<Concern> {
    let mut plain = node.clone();
    if let Some(spec) = &mut plain.spec {
        spec.taints = None;
    }
    let name = node.metadata.name.as_deref().unwrap_or_default();
    Concern::of(format!("node {name}"), why::node::why(&plain, now))
}

/// A pod that does not do what it should, and had time to.
pub(super) fn pod(pod: &Pod, warnings: &[Event], now: Timestamp) -> Option<Concern> {
    let meta = &pod.metadata;
    let since = match (&meta.deletion_timestamp, &meta.creation_timestamp) {
        (Some(end), _) => now.duration_since(end.0) < LATE,
        (None, Some(start)) => now.duration_since(start.0) < YOUNG,
        (None, None) => false,
    };
    if since {
        return None;
    }
    let (namespace, name) = (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
    let what = format!("pod {namespace}/{name}");
    if why::pod::waits_for_a_node(pod) {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let said = conditions.into_iter().find(|c| c.type_ == "PodScheduled").and_then(|c| c.message.clone());
        let why = said.unwrap_or_else(|| "it has no node".to_owned());
        return Some(Concern::new(what, why, format!("oxikube why pod/{name} -n {namespace}")));
    }
    let own: Vec<Event> = warnings.iter().filter(|event| meta.namespace == event.metadata.namespace).cloned().collect();
    Concern::of(what, why::pod::why(pod, &own, None))
}

/// A role that nobody plays.
pub(super) fn leader(leader: &Leader) -> Option<Concern> {
    let silent = leader.silent_seconds.filter(|_| !leader.leads)?;
    let why = format!("nobody leads: {} had it last and has been silent for {silent} s", leader.holder);
    Some(Concern::new(&leader.role, why, "see which of the masters run, and why not the others, in their logs"))
}

/// A certificate that ends soon.
pub(super) fn certificate(name: &str, days: i64) -> Option<Concern> {
    let when = match days {
        ..0 => format!("it ended {} days ago", -days),
        _ => format!("it ends in {days} days"),
    };
    let remedy = "'oxikube certs renew', then start the server anew";
    (days < DAYS).then(|| Concern::new(format!("certificate {name}"), when, remedy))
}

/// A disk that fills up.
pub(super) fn disk(free_percent: u64, folder: &str) -> Option<Concern> {
    let why = format!("only {free_percent} % of the disk are free");
    let remedy = "make room: pods are moved away when it gets full, and a full disk stops the store";
    (free_percent < FREE_PERCENT).then(|| Concern::new(folder, why, remedy))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn made(metadata: Value, spec: Value, status: Value) -> Pod {
        let mut all = json!({"name": "p", "namespace": "ns", "creationTimestamp": "2026-01-01T00:00:00Z"});
        all.as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        let mut containers = json!({"containers": []});
        containers.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(json!({"metadata": all, "spec": containers, "status": status})).unwrap()
    }

    #[test]
    fn a_pod_that_had_time_and_is_not_ready_is_a_concern() {
        let waiting = made(json!({}), json!({"nodeName": "n"}), json!({"phase": "Pending"}));
        assert_eq!(pod(&waiting, &[], at("2026-01-01T00:00:05Z")), None);
        let told = pod(&waiting, &[], at("2026-01-01T00:01:00Z")).unwrap();
        assert_eq!((told.what.as_str(), told.why.as_str()), ("pod ns/p", "node n has not started it yet"));
        let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        assert_eq!(pod(&made(json!({}), json!({"nodeName": "n"}), ready), &[], at("2026-01-01T00:01:00Z")), None);
        let condition = json!({"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"});
        let unplaced = made(json!({}), json!({}), json!({"phase": "Pending", "conditions": [condition]}));
        let told = pod(&unplaced, &[], at("2026-01-01T00:01:00Z")).unwrap();
        assert_eq!(told.why, "0/1 nodes are available");
        assert_eq!(told.remedy, "oxikube why pod/p -n ns");
    }

    #[test]
    fn a_pod_that_ends_is_one_when_it_is_late() {
        let ending = made(json!({"deletionTimestamp": "2026-01-01T00:10:00Z"}), json!({"nodeName": "n"}), json!({}));
        assert_eq!(pod(&ending, &[], at("2026-01-01T00:10:10Z")), None);
        assert!(pod(&ending, &[], at("2026-01-01T00:11:00Z")).is_some());
    }

    #[test]
    fn a_taint_is_no_concern_and_a_silent_kubelet_is() {
        let made = |ready: &str| {
            let taints = json!([{"key": "k", "effect": "NoSchedule"}]);
            let conditions = json!([{"type": "Ready", "status": ready}]);
            let object =
                json!({"metadata": {"name": "n"}, "spec": {"taints": taints}, "status": {"conditions": conditions}});
            serde_json::from_value::<Node>(object).unwrap()
        };
        assert_eq!(node(&made("True"), Timestamp::UNIX_EPOCH), None);
        let told = node(&made("Unknown"), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((told.what.as_str(), told.why.as_str()), ("node n", "its kubelet has not been heard of"));
    }

    #[test]
    fn certificates_and_disks_in_time() {
        assert_eq!(certificate("ca", 30), None);
        assert_eq!(certificate("ca", 29).unwrap().why, "it ends in 29 days");
        assert_eq!(certificate("ca", -2).unwrap().why, "it ended 2 days ago");
        assert_eq!(disk(15, "/d"), None);
        assert!(disk(14, "/d").unwrap().why.contains("14 %"));
    }
}
