use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::{Value, json};

use super::plan::{Plan, Scale, plan};

fn pod(name: &str, ready: bool) -> Arc<Pod> {
    let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "r", "controller": true}]);
    let status = json!({"conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]});
    let pod =
        json!({"metadata": {"name": name, "ownerReferences": owner}, "spec": {"containers": []}, "status": status});
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn look(spec: Value, status: Value, pods: &[Arc<Pod>]) -> Plan {
    let budget: PodDisruptionBudget =
        serde_json::from_value(json!({"metadata": {"generation": 2}, "spec": spec, "status": status})).unwrap();
    let scales = BTreeMap::from([("r".to_owned(), Scale { uid: "d".into(), replicas: 4 })]);
    plan(&budget, pods, &scales, "2026-01-01T00:10:00Z".parse().unwrap())
}

fn numbers(plan: &Plan) -> (i32, i32, i32, i32) {
    let status = &plan.status;
    let number = |number: Option<i32>| number.unwrap_or(-1);
    (
        number(status.expected_pods),
        number(status.desired_healthy),
        number(status.current_healthy),
        number(status.disruptions_allowed),
    )
}

#[test]
fn healthy_pods_beyond_those_needed_may_go() {
    let pods = [pod("a", true), pod("b", true), pod("c", true), pod("d", false)];
    for (spec, expected) in [
        (json!({"minAvailable": 2}), (4, 2, 3, 1)),
        (json!({"minAvailable": "50%"}), (4, 2, 3, 1)),
        (json!({"maxUnavailable": 1}), (4, 3, 3, 0)),
        (json!({"maxUnavailable": "30%"}), (4, 2, 3, 1)),
        (json!({}), (4, 0, 3, 3)),
    ] {
        assert_eq!(numbers(&look(spec.clone(), json!({}), &pods)), expected, "{spec}");
    }
    assert_eq!(numbers(&look(json!({"minAvailable": 0}), json!({}), &[])), (0, 0, 0, 0), "none is there to go");
    let plan = look(json!({"minAvailable": 2}), json!({}), &pods);
    let condition = plan.status.conditions.unwrap().remove(0);
    assert_eq!((condition.reason.as_str(), plan.status.observed_generation), ("SufficientPods", Some(2)));
}

#[test]
fn a_granted_eviction_counts_until_it_is_seen_or_too_late() {
    let pods = [pod("a", true), pod("b", true)];
    let granted = |at: &str| json!({"disruptedPods": {"a": at, "gone": at}});
    let waiting = look(json!({"minAvailable": 1}), granted("2026-01-01T00:09:00Z"), &pods);
    assert_eq!(numbers(&waiting), (2, 1, 1, 0));
    assert_eq!(waiting.status.disrupted_pods.unwrap().len(), 1);
    assert_eq!(waiting.again.map(|wait| wait.as_secs()), Some(60));
    let late = look(json!({"minAvailable": 1}), granted("2026-01-01T00:07:00Z"), &pods);
    assert_eq!((numbers(&late), late.stayed.len()), ((2, 1, 2, 1), 1));
}
