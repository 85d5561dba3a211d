//! Validation of Deployments, ReplicaSets, StatefulSets and DaemonSets.

use api::field::FieldError;
use serde_json::{Value, json};

use crate::check::{self, At, Errors, percent};
use crate::core::pod::template;

pub(super) fn replica_set(set: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(set, "spec");
    counts(&spec, &["replicas", "minReadySeconds"], &mut errors);
    template::of_controller(&spec, "ReplicaSet", "deployment", &mut errors);
    errors
}

fn counts(spec: &At<'_>, fields: &[&str], errors: &mut Errors) {
    fields.iter().for_each(|field| check::not_negative(&spec.get(field), errors));
}

pub(super) fn deployment(deployment: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(deployment, "spec");
    counts(&spec, &["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"], &mut errors);
    template::of_controller(&spec, "ReplicaSet", "deployment", &mut errors);
    strategy(&spec.get("strategy"), &mut errors);
    let (deadline, ready) = (spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds").int().unwrap_or(0));
    if deadline.int().is_some_and(|d| d <= ready) {
        errors.push(deadline.invalid("must be greater than minReadySeconds"));
    }
    errors
}

fn strategy(strategy: &At<'_>, errors: &mut Errors) {
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").str() {
        "Recreate" => {
            if rolling.is_set() {
                errors.push(rolling.forbidden("may not be specified when strategy `type` is 'Recreate'"));
            }
        }
        "RollingUpdate" if !rolling.is_set() => {
            errors.push(rolling.required("this should be defaulted and never be nil"));
        }
        "RollingUpdate" => rolling_update(&rolling, errors),
        _ => errors.push(strategy.not_supported(&["Recreate", "RollingUpdate"])),
    }
}

fn rolling_update(rolling: &At<'_>, errors: &mut Errors) {
    let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
    let known = [&unavailable, &surge].map(|at| percent::int_or_percent(at, errors));
    if known == [Some(0), Some(0)] {
        errors.push(unavailable.invalid("may not be 0 when `maxSurge` is 0"));
    }
    percent::not_over_all(&unavailable, errors);
}

/// The selector of an existing controller is for ever.
pub(super) fn selector_stays(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let (now, was) = (At::field(new, "spec").get("selector"), At::field(old, "spec").get("selector"));
    check::immutable(&now, &was, check::IMMUTABLE, &mut errors);
    errors
}

pub(super) fn replica_status(new: &Value, _: &Value) -> Errors {
    let mut errors = Errors::new();
    let status = At::field(new, "status");
    counts(&status, &["replicas", "readyReplicas", "availableReplicas", "observedGeneration"], &mut errors);
    let total = status.get("replicas").int().unwrap_or(0);
    let number = |field: &str| status.get(field).int().unwrap_or(0);
    for (field, most, why) in [
        ("readyReplicas", total, "cannot be greater than status.replicas"),
        ("availableReplicas", total, "cannot be greater than status.replicas"),
        ("availableReplicas", number("readyReplicas"), "cannot be greater than readyReplicas"),
    ] {
        if number(field) > most {
            errors.push(status.get(field).invalid(why));
        }
    }
    errors
}

pub(super) fn stateful_set(set: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(set, "spec");
    counts(&spec, &["replicas", "minReadySeconds", "revisionHistoryLimit"], &mut errors);
    check::required_one_of(&spec.get("podManagementPolicy"), &["OrderedReady", "Parallel"], &mut errors);
    let update = spec.get("updateStrategy");
    match update.get("type").str() {
        "OnDelete" if update.get("rollingUpdate").is_set() => {
            let why = "only allowed for updateStrategy 'RollingUpdate'";
            errors.push(update.get("rollingUpdate").invalid(why));
        }
        "OnDelete" => {}
        "RollingUpdate" => check::not_negative(&update.get("rollingUpdate").get("partition"), &mut errors),
        _ => errors.push(update.invalid("must be 'RollingUpdate' or 'OnDelete'")),
    }
    let mounting = with_claims(set);
    template::of_controller(&At::field(&mounting, "spec"), "StatefulSet", "statefulset", &mut errors);
    errors
}

/// The set as its pods will be: each has a volume for every claim template, in the place of one of the same name.
fn with_claims(set: &Value) -> Value {
    let mut set = set.clone();
    let templates = set.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(pod) = set.pointer_mut("/spec/template/spec").and_then(Value::as_object_mut) else { return set };
    let names: Vec<&str> = templates.iter().map(api::meta::name).filter(|name| !name.is_empty()).collect();
    if let Some(volumes) = pod.entry("volumes").or_insert_with(|| json!([])).as_array_mut() {
        volumes.retain(|volume| !names.contains(&api::meta::at(volume, "/name")));
        volumes.extend(names.iter().map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}})));
    }
    set
}

pub(super) fn stateful_set_update(new: &Value, old: &Value) -> Errors {
    const FREE: &[&str] = &[
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let fixed = |set: &Value| {
        let mut spec = set.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
        spec.retain(|key, value| !FREE.contains(&key.as_str()) && !value.is_null());
        spec
    };
    if fixed(new) == fixed(old) {
        return Errors::new();
    }
    let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    vec![FieldError::forbidden("spec", why)]
}

pub(super) fn daemon_set(set: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(set, "spec");
    counts(&spec, &["minReadySeconds", "revisionHistoryLimit"], &mut errors);
    template::of_controller(&spec, "DaemonSet", "daemonset", &mut errors);
    let update = spec.get("updateStrategy");
    match update.get("type").str() {
        "OnDelete" => {}
        "RollingUpdate" => {
            let rolling = update.get("rollingUpdate");
            let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            let known = [&unavailable, &surge].map(|at| percent::int_or_percent(at, &mut errors));
            match known {
                [Some(0), Some(0)] => errors.push(unavailable.required("cannot be 0 when maxSurge is 0")),
                [Some(u), Some(s)] if u > 0 && s > 0 => {
                    errors.push(surge.invalid("may not be set when maxUnavailable is non-zero"));
                }
                _ => {}
            }
            percent::not_over_all(&unavailable, &mut errors);
            percent::not_over_all(&surge, &mut errors);
        }
        _ => errors.push(update.get("type").not_supported(&["OnDelete", "RollingUpdate"])),
    }
    errors
}
