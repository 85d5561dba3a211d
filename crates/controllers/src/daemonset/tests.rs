use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use super::plan::{node_of, pin, plan, status};
use crate::common::owner::controller_reference;
use crate::common::revisions::{History, Step};

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

fn set(pod: Value) -> DaemonSet {
    let mut spec = json!({"containers": [{"name": "c"}]});
    pod.as_object().unwrap().iter().for_each(|(key, value)| spec[key] = value.clone());
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": spec});
    serde_json::from_value(json!({"metadata": {"name": "d", "namespace": "ns", "uid": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}))
    .unwrap()
}

fn node(name: &str, labels: Value, taints: Value) -> Arc<Node> {
    let node = json!({"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}});
    Arc::new(serde_json::from_value(node).unwrap())
}

fn nodes(count: usize) -> Vec<Arc<Node>> {
    (0..count).map(|n| node(&format!("n{n}"), json!({}), json!([]))).collect()
}

fn pod(name: &str, node: &str, hash: &str, ready: bool) -> Arc<Pod> {
    let condition = json!({"type": "Ready", "status": if ready { "True" } else { "False" }});
    let meta = json!({"name": name, "uid": name, "labels": {"controller-revision-hash": hash}});
    Arc::new(
        serde_json::from_value(json!({"metadata": meta, "spec": {"nodeName": node, "containers": []},
            "status": {"phase": "Running", "conditions": [condition]}}))
        .unwrap(),
    )
}

fn names(pods: &[Arc<Pod>]) -> Vec<&str> {
    pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect()
}

#[test]
fn every_fit_node_gets_one_pod() {
    let taint = |key: &str, effect: &str| json!([{"key": key, "effect": effect}]);
    let nodes = [
        node("plain", json!({"disk": "ssd"}), json!([])),
        node("cordoned", json!({"disk": "ssd"}), taint("node.kubernetes.io/unschedulable", "NoSchedule")),
        node("tainted", json!({"disk": "ssd"}), taint("mine", "NoSchedule")),
        node("other", json!({}), json!([])),
        node("served", json!({"disk": "ssd"}), json!([])),
        node("driven", json!({"disk": "ssd"}), taint("mine", "NoExecute")),
    ];
    let set = set(json!({"nodeSelector": {"disk": "ssd"}}));
    let owned = [
        pod("a", "served", "h", true),
        pod("stays", "tainted", "h", true),
        pod("b", "other", "h", true),
        pod("c", "driven", "h", true),
    ];
    let plan = plan(&set, &nodes, &owned, "h", now());
    assert_eq!(plan.create, ["plain", "cordoned"]);
    assert_eq!(names(&plan.delete), ["b", "c"]);
    let status = status(&set, &nodes, &owned, "h", now());
    let numbers = (status.desired_number_scheduled, status.current_number_scheduled, status.number_misscheduled);
    assert_eq!((numbers, status.number_available, status.number_unavailable), ((3, 1, 3), Some(1), Some(2)));
}

#[test]
fn failed_and_doubled_pods_go() {
    let mut failed = (*pod("f", "n0", "h", false)).clone();
    failed.status.as_mut().unwrap().phase = Some("Failed".into());
    let owned = [Arc::new(failed), pod("a", "n1", "h", true), pod("b", "n1", "h", true)];
    let plan = plan(&set(json!({})), &nodes(2), &owned, "h", now());
    assert_eq!((plan.create.len(), names(&plan.delete), names(&plan.failed)), (0, vec!["f", "b"], vec!["f"]));
}

#[test]
fn an_update_takes_one_node_at_a_time_and_the_broken_first() {
    let set = set(json!({}));
    let old = [pod("a", "n0", "old", true), pod("b", "n1", "old", true), pod("c", "n2", "old", true)];
    assert_eq!(names(&plan(&set, &nodes(3), &old, "new", now()).delete), ["a"]);
    let broken = [pod("a", "n0", "new", true), pod("b", "n1", "old", false), pod("c", "n2", "old", true)];
    assert_eq!(names(&plan(&set, &nodes(3), &broken, "new", now()).delete), ["b"], "its loss costs nothing");
    let mut manual = set;
    let strategy = json!({"type": "OnDelete"});
    manual.spec.update_strategy = serde_json::from_value(strategy).unwrap();
    assert!(plan(&manual, &nodes(3), &old, "new", now()).delete.is_empty());
}

#[test]
fn new_pods_beside_old_ones() {
    let mut set = set(json!({}));
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    set.spec.update_strategy = serde_json::from_value(strategy).unwrap();
    let old = [pod("a", "n0", "old", true), pod("b", "n1", "old", true)];
    let first = plan(&set, &nodes(2), &old, "new", now());
    assert_eq!((first.create, names(&first.delete)), (vec!["n0".to_owned()], vec![]));
    let both = [old[0].clone(), pod("c", "n0", "new", false), old[1].clone()];
    let second = plan(&set, &nodes(2), &both, "new", now());
    assert_eq!((second.create.len(), names(&second.delete)), (0, vec![]), "one at a time");
    let ready = [old[0].clone(), pod("c", "n0", "new", true), old[1].clone()];
    let third = plan(&set, &nodes(2), &ready, "new", now());
    assert_eq!((third.create, names(&third.delete)), (vec!["n1".to_owned()], vec!["a"]));
}

#[test]
fn a_pod_is_pinned_before_it_is_bound() {
    let mut pod = Pod { spec: Some(Default::default()), ..Pod::default() };
    pin(pod.spec.as_mut().unwrap(), "n7");
    assert_eq!(node_of(&pod).as_deref(), Some("n7"));
    assert_eq!(pod.spec.unwrap().tolerations.unwrap().len(), 6);
}

#[test]
fn the_history_takes_a_template_up_again() {
    let (first, second) = (set(json!({})), set(json!({"hostNetwork": true})));
    let step = |set: &DaemonSet, known: &[_]| {
        let history = History {
            owner: &set.metadata,
            reference: controller_reference(set),
            template: &set.spec.template,
            collisions: None,
            label: "controller-revision-hash",
            limit: None,
        };
        history.step(known)
    };
    let made = |set: &DaemonSet, history: &[_]| match step(set, history) {
        Step::Create(revision) => Arc::new(*revision),
        other => panic!("{other:?}"),
    };
    let one = made(&first, &[]);
    let two = made(&second, &[Arc::clone(&one)]);
    assert_eq!((one.revision, two.revision), (Some(1), Some(2)));
    let history = [one, two];
    assert!(matches!(step(&second, &history), Step::Current(_)));
    assert!(matches!(step(&first, &history), Step::Raise(known, 3) if known.revision == Some(1)));
}
