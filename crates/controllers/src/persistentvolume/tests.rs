use client::volumes::{BIND_COMPLETED, BOUND_BY_CONTROLLER, PROVISIONED_BY, PROVISIONER, SELECTED_NODE};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::{Value, json};

use super::plan::{Plan, View, Write, claim as plan_claim};
use super::plan_volume::volume as plan_volume;

fn merged(mut base: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        match base.get_mut(key) {
            Some(Value::Object(map)) if value.is_object() => map.extend(value.as_object().unwrap().clone()),
            _ => base[key] = value.clone(),
        }
    }
    base
}

fn claim(more: Value) -> PersistentVolumeClaim {
    let base = json!({"metadata": {"name": "c", "namespace": "ns", "uid": "1"}, "status": {"phase": "Pending"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "s",
            "resources": {"requests": {"storage": "1Gi"}}}});
    serde_json::from_value(merged(base, &more)).unwrap()
}

fn volume(more: Value) -> PersistentVolume {
    let base = json!({"metadata": {"name": "v", "uid": "9"}, "status": {"phase": "Available"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "s", "capacity": {"storage": "2Gi"},
            "persistentVolumeReclaimPolicy": "Retain"}});
    serde_json::from_value(merged(base, &more)).unwrap()
}

fn class(provisioner: &str, mode: &str) -> StorageClass {
    serde_json::from_value(json!({"metadata": {"name": "s"}, "provisioner": provisioner, "volumeBindingMode": mode}))
        .unwrap()
}

fn reason(plan: &Plan) -> &str {
    plan.event.as_ref().map_or("", |event| event.reason)
}

/// Phase that is written, or what else.
fn written(plan: &Plan) -> String {
    match &plan.write {
        Some(Write::ClaimStatus(claim)) => claim.status.clone().unwrap_or_default().phase.unwrap_or_default(),
        Some(Write::VolumeStatus(volume)) => volume.status.clone().unwrap_or_default().phase.unwrap_or_default(),
        Some(Write::Claim(_)) => "claim".into(),
        Some(Write::Volume(_)) => "volume".into(),
        None => String::new(),
    }
}

#[test]
fn binding_goes_step_by_step_to_the_same_end_from_anywhere() {
    let (mut claim, mut volume) = (claim(json!({})), volume(json!({})));
    let mut steps = Vec::new();
    loop {
        let named = (claim.spec.as_ref().unwrap().volume_name.is_some()).then_some(&volume);
        let best = if named.is_some() { None } else { Some(&volume) };
        let plan = plan_claim(&claim, &View { named, best, ..View::default() });
        steps.push(written(&plan));
        match plan.write {
            Some(Write::Volume(changed) | Write::VolumeStatus(changed)) => volume = *changed,
            Some(Write::Claim(changed) | Write::ClaimStatus(changed)) => claim = *changed,
            None => break,
        }
    }
    assert_eq!(steps, ["volume", "Bound", "claim", "Bound", ""]);
    let annotations = claim.metadata.annotations.unwrap();
    assert!(annotations.contains_key(BIND_COMPLETED) && annotations.contains_key(BOUND_BY_CONTROLLER));
    let status = claim.status.unwrap();
    assert_eq!(serde_json::to_value(&status.capacity).unwrap(), json!({"storage": "2Gi"}));
    assert_eq!(volume.spec.unwrap().claim_ref.unwrap().uid.as_deref(), Some("1"));
}

#[test]
fn a_claim_without_a_volume_says_what_it_waits_for() {
    let view = |class| View { class, ..View::default() };
    let (delayed, at_once) = (class("p", "WaitForFirstConsumer"), class("p", "Immediate"));
    assert_eq!(reason(&plan_claim(&claim(json!({})), &view(Some(&delayed)))), "WaitForFirstConsumer");
    let waiting = View { class: Some(&delayed), waiting: vec!["p".into()], ..View::default() };
    let plan = plan_claim(&claim(json!({})), &waiting);
    assert_eq!(plan.event.unwrap().message, "waiting for pod p to be scheduled");
    assert_eq!(written(&plan_claim(&claim(json!({})), &view(Some(&at_once)))), "claim");
    let none = plan_claim(&claim(json!({})), &view(None));
    assert_eq!(none.event.unwrap().message, "storageclass.storage.k8s.io \"s\" not found");
    let classless = claim(json!({"spec": {"storageClassName": ""}}));
    assert_eq!(reason(&plan_claim(&classless, &view(None))), "FailedBinding");
    let manual = class("kubernetes.io/no-provisioner", "Immediate");
    assert_eq!(reason(&plan_claim(&claim(json!({})), &view(Some(&manual)))), "ProvisioningFailed");
}

#[test]
fn the_provisioner_is_asked_once_a_node_is_selected() {
    let class = class("p", "WaitForFirstConsumer");
    let selected = claim(json!({"metadata": {"annotations": {SELECTED_NODE: "n"}}}));
    let plan = plan_claim(&selected, &View { class: Some(&class), ..View::default() });
    let Some(Write::Claim(asked)) = plan.write else { panic!("{plan:?}") };
    assert_eq!(asked.metadata.annotations.as_ref().unwrap()[PROVISIONER], "p");
    let plan = plan_claim(&asked, &View { class: Some(&class), ..View::default() });
    assert_eq!((written(&plan).as_str(), reason(&plan)), ("", "ExternalProvisioning"));
}

#[test]
fn a_claim_that_left_its_class_open_gets_a_later_default() {
    let class = class("p", "Immediate");
    let mut open = claim(json!({}));
    open.spec.as_mut().unwrap().storage_class_name = None;
    let plan = plan_claim(&open, &View { default_class: Some(&class), ..View::default() });
    let Some(Write::Claim(changed)) = plan.write else { panic!("{plan:?}") };
    assert_eq!(changed.spec.unwrap().storage_class_name.as_deref(), Some("s"));
}

#[test]
fn a_named_volume_is_taken_only_if_it_fits_and_is_free() {
    let named = claim(json!({"spec": {"volumeName": "v"}}));
    let plan = |volume: &PersistentVolume| plan_claim(&named, &View { named: Some(volume), ..View::default() });
    assert_eq!(written(&plan(&volume(json!({})))), "volume");
    assert_eq!(reason(&plan(&volume(json!({"spec": {"capacity": {"storage": "1Mi"}}})))), "VolumeMismatch");
    let theirs = volume(json!({"spec": {"claimRef": {"namespace": "ns", "name": "d", "uid": "2"}}}));
    assert_eq!(reason(&plan(&theirs)), "FailedBinding");
    let reserved = volume(json!({"spec": {"claimRef": {"namespace": "ns", "name": "c"}}}));
    let Some(Write::Volume(taken)) = plan(&reserved).write else { panic!() };
    assert!(taken.metadata.annotations.is_none(), "the user chose it");
    assert_eq!(written(&plan_claim(&named, &View::default())), "");
}

#[test]
fn a_bound_claim_can_be_lost() {
    let bound = claim(json!({"metadata": {"annotations": {BIND_COMPLETED: "yes"}}, "spec": {"volumeName": "v"},
        "status": {"phase": "Bound"}}));
    let plan = plan_claim(&bound, &View::default());
    assert_eq!((written(&plan).as_str(), reason(&plan)), ("Lost", "ClaimLost"));
    let theirs = volume(json!({"spec": {"claimRef": {"namespace": "ns", "name": "d", "uid": "2"}}}));
    let plan = plan_claim(&bound, &View { named: Some(&theirs), ..View::default() });
    assert_eq!((written(&plan).as_str(), reason(&plan)), ("Lost", "ClaimMisbound"));
}

#[test]
fn phases_of_volumes() {
    let reference = json!({"namespace": "ns", "name": "c", "uid": "1"});
    let held =
        |more: Value| volume(merged(json!({"spec": {"claimRef": reference}, "status": {"phase": "Bound"}}), &more));
    assert_eq!(written(&plan_volume(&volume(json!({"status": {"phase": "Pending"}})), None)), "Available");
    assert_eq!(written(&plan_volume(&held(json!({})), None)), "Released");
    let here = claim(json!({"spec": {"volumeName": "v"}}));
    assert_eq!(plan_volume(&held(json!({})), Some(&here)), Plan::default());
    let another = claim(json!({"metadata": {"uid": "2"}, "spec": {"volumeName": "v"}}));
    assert_eq!(written(&plan_volume(&held(json!({})), Some(&another))), "Released", "its claim was made anew");
    let released = |policy: &str, annotations: Value| {
        held(json!({"spec": {"persistentVolumeReclaimPolicy": policy, "claimRef": reference},
            "status": {"phase": "Released"}, "metadata": {"annotations": annotations}}))
    };
    let gone = |policy: &str, annotations: Value| {
        let plan = plan_volume(&released(policy, annotations), None);
        format!("{} {}", written(&plan), reason(&plan))
    };
    assert_eq!(gone("Retain", json!({})), " ");
    assert_eq!(gone("Delete", json!({PROVISIONED_BY: "p"})), " ");
    assert_eq!(gone("Delete", json!({})), "Failed VolumeFailedDelete");
    assert_eq!(gone("Recycle", json!({})), "Failed VolumeFailedRecycle");
}

#[test]
fn a_volume_whose_claim_found_another_is_free_again() {
    let elsewhere = claim(json!({"spec": {"volumeName": "w"}}));
    let taken = |annotations: Value| {
        let volume = volume(json!({"metadata": {"annotations": annotations},
            "spec": {"claimRef": {"namespace": "ns", "name": "c", "uid": "1"}}}));
        let Some(Write::Volume(changed)) = plan_volume(&volume, Some(&elsewhere)).write else { panic!() };
        changed.spec.unwrap().claim_ref
    };
    assert_eq!(taken(json!({BOUND_BY_CONTROLLER: "yes"})), None);
    assert_eq!(taken(json!({})).unwrap().uid, None);
}
