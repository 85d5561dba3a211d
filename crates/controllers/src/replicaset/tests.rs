use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::plan::{Action, manage, next_available, status};

const NOW: &str = "2026-01-01T01:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn set(spec: Value) -> ReplicaSet {
    let mut spec = spec;
    spec["selector"] = json!({"matchLabels": {"a": "b"}});
    spec["template"] = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}});
    serde_json::from_value(json!({"metadata": {"name": "rs", "generation": 3}, "spec": spec})).unwrap()
}

/// `ready` is when it became so.
fn pod(name: &str, node: &str, phase: &str, ready: Option<&str>) -> Value {
    let condition = ready.map(|at| json!([{"type": "Ready", "status": "True", "lastTransitionTime": at}]));
    json!({"metadata": {"name": name, "uid": name, "labels": {"a": "b"}, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"nodeName": node, "containers": []},
        "status": {"phase": phase, "conditions": condition}})
}

fn parse(pods: &[Value]) -> Vec<Arc<Pod>> {
    pods.iter().map(|pod| Arc::new(serde_json::from_value(pod.clone()).unwrap())).collect()
}

fn victims(count: usize, pods: &[Value]) -> Vec<String> {
    let nodes = ["m", "n", "n"].map(str::to_owned);
    let mut related = HashMap::new();
    nodes.into_iter().for_each(|node| *related.entry(node).or_insert(0) += 1);
    match manage(&set(json!({"replicas": pods.len() - count})), &parse(pods), &related, now()) {
        Action::Delete(victims) => victims.iter().map(|pod| pod.metadata.name.clone().unwrap()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn missing_pods_are_made_in_bursts() {
    let count = |replicas: usize, pods: &[Value]| match manage(
        &set(json!({"replicas": replicas})),
        &parse(pods),
        &HashMap::new(),
        now(),
    ) {
        Action::Create(count) => count,
        Action::Nothing => 0,
        Action::Delete(_) => panic!("nothing to delete"),
    };
    let one = [pod("p", "n", "Running", None)];
    assert_eq!([count(3, &one), count(1, &one), count(2000, &one)], [2, 0, 500]);
}

#[test]
fn the_least_useful_pods_go_first() {
    let old = Some("2026-01-01T00:00:10Z");
    let mut cheap = pod("cheap", "m", "Running", old);
    cheap["metadata"]["annotations"] = json!({"controller.kubernetes.io/pod-deletion-cost": "-1"});
    let mut restarted = pod("restarted", "m", "Running", old);
    restarted["status"]["containerStatuses"] =
        json!([{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 4}]);
    let pods = [
        pod("good", "m", "Running", old),
        restarted,
        pod("fresh", "m", "Running", Some("2026-01-01T00:59:59Z")),
        pod("crowded", "n", "Running", old),
        cheap,
        pod("unready", "m", "Running", None),
        pod("pending", "m", "Pending", None),
        pod("unassigned", "", "Pending", None),
    ];
    let order = ["unassigned", "pending", "unready", "cheap", "crowded", "fresh", "restarted"];
    assert_eq!(victims(7, &pods), order);
}

#[test]
fn the_status_counts() {
    let mut leaving = pod("leaving", "n", "Running", Some("2026-01-01T00:00:00Z"));
    leaving["metadata"]["deletionTimestamp"] = json!(NOW);
    let mut unlabelled = pod("unlabelled", "n", "Running", None);
    unlabelled["metadata"]["labels"] = json!({});
    let pods = parse(&[
        pod("available", "n", "Running", Some("2026-01-01T00:00:00Z")),
        pod("ready", "n", "Running", Some("2026-01-01T00:59:55Z")),
        pod("failed", "n", "Failed", None),
        unlabelled,
        leaving,
    ]);
    let set = set(json!({"replicas": 3, "minReadySeconds": 10}));
    let status = status(&set, &pods, None, now());
    let numbers = (status.replicas, status.fully_labeled_replicas, status.ready_replicas, status.available_replicas);
    assert_eq!(numbers, (3, Some(2), Some(2), Some(1)));
    assert_eq!((status.terminating_replicas, status.observed_generation), (Some(1), Some(3)));
    assert_eq!(next_available(&set, &pods, now()).unwrap().as_secs(), 5);
}

#[test]
fn a_failure_is_a_condition_until_it_is_over() {
    let mut set = set(json!({"replicas": 3}));
    let failed = status(&set, &[], Some(("FailedCreate", "quota".into())), now());
    let condition = failed.conditions.as_ref().unwrap().first().unwrap().clone();
    assert_eq!(
        (condition.type_.as_deref(), condition.reason.as_deref()),
        (Some("ReplicaFailure"), Some("FailedCreate"))
    );
    set.status = Some(failed);
    assert_eq!(status(&set, &[], None, now()).conditions, None);
}
