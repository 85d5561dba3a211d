use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use serde_json::{Value, json};

use super::plan::{Answer, FINALIZER, FOLDER, Fate, NODE, PROVISIONER, class, fate, provision};

fn claim(spec: Value, node: Option<&str>) -> PersistentVolumeClaim {
    let mut all = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "local-path",
        "resources": {"requests": {"storage": "1Gi"}}});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let mut annotations = json!({"volume.kubernetes.io/storage-provisioner": PROVISIONER});
    if let Some(node) = node {
        annotations["volume.kubernetes.io/selected-node"] = node.into();
    }
    let metadata = json!({"name": "c", "namespace": "ns", "uid": "1", "annotations": annotations});
    serde_json::from_value(json!({"metadata": metadata, "spec": all})).unwrap()
}

fn node(annotations: Value) -> Node {
    let metadata = json!({"name": "n", "labels": {"kubernetes.io/hostname": "host"}, "annotations": annotations});
    serde_json::from_value(json!({"metadata": metadata})).unwrap()
}

#[test]
fn the_volume_is_a_folder_of_the_selected_node() {
    let node = node(json!({FOLDER: "/data/local"}));
    let Answer::Make(volume) = provision(&claim(json!({}), Some("n")), &class(), Some(&node)) else { panic!() };
    let value = serde_json::to_value(&volume).unwrap();
    assert_eq!(value["metadata"]["name"], "pvc-1");
    assert_eq!(value["metadata"]["finalizers"], json!([FINALIZER]));
    assert_eq!(value["metadata"]["labels"][NODE], "n");
    assert_eq!(value["spec"]["local"]["path"], "/data/local/pvc-1");
    assert_eq!(value["spec"]["claimRef"]["uid"], "1");
    assert_eq!(value["spec"]["persistentVolumeReclaimPolicy"], "Delete");
    let term = &value["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0];
    assert_eq!(term, &json!({"key": "kubernetes.io/hostname", "operator": "In", "values": ["host"]}));
}

#[test]
fn what_a_folder_cannot_be_is_refused() {
    let node = node(json!({FOLDER: "/data"}));
    let answer = |spec: Value| provision(&claim(spec, Some("n")), &class(), Some(&node));
    for spec in [
        json!({"accessModes": ["ReadWriteMany"]}),
        json!({"volumeMode": "Block"}),
        json!({"selector": {}}),
        json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "x"}}),
    ] {
        assert!(matches!(answer(spec.clone()), Answer::Refuse(_)), "{spec}");
    }
    let mut immediate = class();
    immediate.volume_binding_mode = Some("Immediate".into());
    assert!(matches!(provision(&claim(json!({}), None), &immediate, None), Answer::Refuse(_)));
}

#[test]
fn it_waits_for_a_node_and_gives_a_bad_choice_back() {
    assert_eq!(provision(&claim(json!({}), None), &class(), None), Answer::None);
    assert!(matches!(provision(&claim(json!({}), Some("n")), &class(), None), Answer::Reschedule(_)));
    assert!(matches!(provision(&claim(json!({}), Some("n")), &class(), Some(&node(json!({})))), Answer::Reschedule(_)));
    assert_eq!(provision(&claim(json!({"volumeName": "v"}), Some("n")), &class(), None), Answer::None);
}

#[test]
fn fates() {
    let volume = |policy: &str, phase: &str, deleted: bool| -> PersistentVolume {
        let at = deleted.then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(json!({"metadata": {"name": "v", "finalizers": [FINALIZER], "deletionTimestamp": at,
            "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
            "spec": {"persistentVolumeReclaimPolicy": policy}, "status": {"phase": phase}}))
        .unwrap()
    };
    let rows = [
        ("Delete", "Bound", false, true, Fate::Stay),
        ("Delete", "Released", false, true, Fate::Delete),
        ("Retain", "Released", false, true, Fate::Stay),
        ("Delete", "Released", true, true, Fate::Stay),
        ("Delete", "Released", true, false, Fate::LetGo),
        ("Retain", "Released", true, true, Fate::LetGo),
        ("Retain", "Bound", true, true, Fate::Stay),
    ];
    for (policy, phase, deleted, known, expected) in rows {
        assert_eq!(fate(&volume(policy, phase, deleted), known), expected, "{policy} {phase} {deleted} {known}");
    }
}
