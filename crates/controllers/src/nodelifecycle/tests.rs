use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

use super::plan::{Cluster, cluster, silence, taints};

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn node(ready: &str, spec: Value) -> Node {
    let conditions = json!([{"type": "Ready", "status": ready, "lastHeartbeatTime": "2025-12-31T23:00:00Z"},
        {"type": "MemoryPressure", "status": "False"}]);
    serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": spec, "status": {"conditions": conditions}}))
        .unwrap()
}

fn names(node: &Node, state: Cluster) -> Option<Vec<String>> {
    let taints = taints(node, state, now())?;
    Some(taints.iter().map(|taint| format!("{}:{}", taint.key.rsplit('/').next().unwrap(), taint.effect)).collect())
}

fn list(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn a_silent_node_is_unknown_in_all_respects() {
    let conditions = silence(&node("True", json!({})), now());
    let said: Vec<_> = conditions.iter().map(|c| (c.type_.as_str(), c.reason.as_deref().unwrap())).collect();
    let never = "NodeStatusNeverUpdated";
    let stopped = "NodeStatusUnknown";
    assert_eq!(
        said,
        [("Ready", stopped), ("MemoryPressure", stopped), ("DiskPressure", never), ("PIDPressure", never)]
    );
    assert!(conditions[0].last_heartbeat_time.is_some());
    let mut again = node("True", json!({}));
    again.status.as_mut().unwrap().conditions = Some(conditions);
    assert!(silence(&again, now()).is_empty());
}

#[test]
fn taints_follow_conditions() {
    let normal = |node: &Node| names(node, Cluster::Normal);
    assert_eq!(normal(&node("True", json!({}))), None);
    assert_eq!(normal(&node("False", json!({}))), list(&["not-ready:NoSchedule", "not-ready:NoExecute"]));
    assert_eq!(normal(&node("Unknown", json!({}))), list(&["unreachable:NoSchedule", "unreachable:NoExecute"]));
    assert_eq!(normal(&node("True", json!({"unschedulable": true}))), list(&["unschedulable:NoSchedule"]));
    let before = json!({"taints": [{"key": "mine", "effect": "NoExecute"},
        {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]});
    assert_eq!(normal(&node("True", before.clone())), list(&["mine:NoExecute"]), "others' taints stay");
    assert_eq!(normal(&node("False", before)), None, "and so do ours with their time");
}

#[test]
fn a_cluster_without_ready_nodes_evicts_nobody() {
    let sizes = [(0, 0), (1, 0), (1, 1), (3, 1), (5, 2), (5, 3), (100, 60)];
    let states = sizes.map(|(nodes, unready)| cluster(nodes, unready));
    use Cluster::{Full, Normal, Partial};
    assert_eq!(states, [Normal, Normal, Full, Normal, Normal, Partial, Normal]);
    assert_eq!(names(&node("False", json!({})), Full), list(&["not-ready:NoSchedule"]));
    assert_eq!(names(&node("False", json!({})), Partial), list(&["not-ready:NoSchedule"]));
    let tainted = json!({"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]});
    assert_eq!(names(&node("True", tainted), Full), list(&[]));
}
