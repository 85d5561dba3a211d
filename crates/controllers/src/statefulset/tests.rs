use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde_json::{Value, json};

use super::plan::{Observed, Plan, plan};
use super::{claims, identity};

const NOW: &str = "2026-01-01T01:00:00Z";

fn set(spec: Value) -> StatefulSet {
    let mut whole = json!({"selector": {"matchLabels": {"a": "b"}}, "serviceName": "s",
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(json!({"metadata": {"name": "w", "namespace": "n", "uid": "w"}, "spec": whole})).unwrap()
}

fn pod(number: i32, revision: &str, ready: bool) -> Value {
    let condition = json!([{"type": "Ready", "status": if ready { "True" } else { "False" },
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    json!({"metadata": {"name": format!("w-{number}"), "uid": format!("w-{number}"),
            "labels": {"a": "b", "controller-revision-hash": revision}},
        "spec": {"containers": []}, "status": {"phase": "Running", "conditions": condition}})
}

fn look(set: &StatefulSet, pods: &[Value]) -> Plan {
    let pods: Vec<Arc<Pod>> = pods.iter().map(|pod| Arc::new(serde_json::from_value(pod.clone()).unwrap())).collect();
    plan(&Observed { set, pods: &pods, current: "old", update: "new", now: NOW.parse().unwrap() })
}

fn made(plan: &Plan) -> Vec<i32> {
    plan.create.iter().map(|new| new.ordinal).collect()
}

fn deleted(plan: &Plan) -> Vec<&str> {
    plan.delete.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect()
}

#[test]
fn one_after_the_other_or_all_at_once() {
    let ordered = set(json!({"replicas": 3}));
    assert_eq!(made(&look(&ordered, &[])), [0]);
    assert_eq!(made(&look(&ordered, &[pod(0, "new", false)])), Vec::<i32>::new());
    assert_eq!(made(&look(&ordered, &[pod(0, "new", true)])), [1]);
    let parallel = set(json!({"replicas": 3, "podManagementPolicy": "Parallel", "ordinals": {"start": 5}}));
    assert_eq!(made(&look(&parallel, &[])), [5, 6, 7]);
}

#[test]
fn the_highest_goes_first() {
    let ordered = set(json!({"replicas": 1}));
    let all = [pod(0, "new", true), pod(1, "new", true), pod(2, "new", true)];
    assert_eq!(deleted(&look(&ordered, &all)), ["w-2"]);
    let mut leaving = all.clone();
    leaving[2]["metadata"]["deletionTimestamp"] = json!(NOW);
    assert_eq!(deleted(&look(&ordered, &leaving)), Vec::<&str>::new(), "until it has gone");
    let mut broken = all;
    broken[0] = pod(0, "new", false);
    assert_eq!(deleted(&look(&ordered, &broken)), Vec::<&str>::new(), "not while one that stays is not ready");
    let none = set(json!({"replicas": 0}));
    let ill = |numbers: &[i32]| [0, 1, 2].map(|number| pod(number, "new", !numbers.contains(&number)));
    assert_eq!(deleted(&look(&none, &ill(&[0, 1, 2]))), Vec::<&str>::new(), "not one that is ill before one below it");
    assert_eq!(deleted(&look(&none, &ill(&[0]))), ["w-2"]);
    assert_eq!(deleted(&look(&none, &ill(&[2]))), ["w-2"], "the lowest that is ill is no hindrance");
}

#[test]
fn pods_that_ended_are_made_anew() {
    let mut failed = pod(0, "new", false);
    failed["status"]["phase"] = json!("Failed");
    let plan = look(&set(json!({"replicas": 2})), &[failed]);
    assert_eq!((plan.replace.len(), made(&plan)), (1, vec![]));
}

#[test]
fn a_new_template_rolls_from_the_top() {
    let pods = [pod(0, "old", true), pod(1, "old", true), pod(2, "old", true)];
    let with = |update: Value| set(json!({"replicas": 3, "updateStrategy": update}));
    let rolling = |more: Value| with(json!({"type": "RollingUpdate", "rollingUpdate": more}));
    assert_eq!(deleted(&look(&rolling(json!({"partition": 0})), &pods)), ["w-2"]);
    assert_eq!(deleted(&look(&rolling(json!({"partition": 3})), &pods)), Vec::<&str>::new());
    assert_eq!(deleted(&look(&rolling(json!({"maxUnavailable": 2})), &pods)), ["w-2", "w-1"]);
    assert_eq!(deleted(&look(&with(json!({"type": "OnDelete"})), &pods)), Vec::<&str>::new());
    let half = [pod(0, "old", true), pod(1, "old", true), pod(2, "new", false)];
    assert_eq!(deleted(&look(&rolling(json!({"partition": 0})), &half)), Vec::<&str>::new());
    let kept = look(&rolling(json!({"partition": 1})), &[pod(1, "new", true), pod(2, "new", true)]);
    assert!(kept.create.first().is_some_and(|new| new.current), "below the partition by the current revision");
}

#[test]
fn the_status_counts_by_revision() {
    let half = look(&set(json!({"replicas": 2})), &[pod(0, "old", true), pod(1, "new", true)]).status;
    let numbers = (half.replicas, half.ready_replicas, half.current_replicas, half.updated_replicas);
    assert_eq!(numbers, (2, Some(2), Some(1), Some(1)));
    assert_eq!(half.current_revision.as_deref(), Some("old"));
    let all = look(&set(json!({"replicas": 2})), &[pod(0, "new", true), pod(1, "new", true)]).status;
    assert_eq!((all.current_revision.as_deref(), all.current_replicas), (Some("new"), Some(2)));
    let young = set(json!({"replicas": 1, "minReadySeconds": 3610}));
    let plan = look(&young, &[pod(0, "new", true)]);
    assert_eq!((plan.status.available_replicas, plan.again.map(|wait| wait.as_secs())), (Some(0), Some(10)));
}

#[test]
fn each_pod_has_a_name_and_claims() {
    let set = set(json!({"replicas": 1, "volumeClaimTemplates": [{"metadata": {"name": "disk"}, "spec": {}}]}));
    let template = set.spec.template.clone();
    let pod = serde_json::to_value(identity::pod(&set, &template, "w-1a", 3)).unwrap();
    assert_eq!(
        pod.pointer("/metadata/labels").unwrap(),
        &json!({"a": "b", "controller-revision-hash": "w-1a",
        "statefulset.kubernetes.io/pod-name": "w-3", "apps.kubernetes.io/pod-index": "3"})
    );
    assert_eq!(pod.pointer("/spec/hostname").unwrap(), "w-3");
    assert_eq!(pod.pointer("/spec/subdomain").unwrap(), "s");
    assert_eq!(pod.pointer("/spec/volumes/0/persistentVolumeClaim/claimName").unwrap(), "disk-w-3");
    assert_eq!(identity::claims(&set, 3).first().unwrap().metadata.name.as_deref(), Some("disk-w-3"));
}

#[test]
fn claims_go_or_stay() {
    let owner = |deleted: &str, scaled: &str, condemned: bool| {
        let set = set(json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": deleted, "whenScaled": scaled}}));
        let pod: Pod = serde_json::from_value(pod(0, "new", true)).unwrap();
        let owners = claims::owners(&set, &pod, &PersistentVolumeClaim::default(), condemned);
        owners.and_then(|owners| owners.first().map(|owner| owner.kind.clone()))
    };
    assert_eq!(owner("Retain", "Retain", true), None);
    assert_eq!(owner("Delete", "Retain", true).as_deref(), Some("StatefulSet"));
    assert_eq!(owner("Delete", "Delete", true).as_deref(), Some("Pod"));
    assert_eq!(owner("Retain", "Delete", false), None);
}
