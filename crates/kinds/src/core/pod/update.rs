//! What an update of a pod may change.

use std::collections::HashSet;

use api::field::FieldError;
use serde_json::{Map, Value};

use super::{CONTAINERS, scheduling};
use crate::check::{self, At, Errors};

const UPDATABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Complaints about a change through the front door.
pub(crate) fn validate(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let (spec, before) = (At::field(new, "spec"), At::field(old, "spec"));
    for list in ["containers", "initContainers"] {
        let (now, was) = (spec.get(list), before.get(list));
        if now.items().count() != was.items().count() {
            errors.push(now.forbidden("pod updates may not add or remove containers"));
            return errors;
        }
    }
    deadline(&spec, &before, &mut errors);
    tolerations(&spec, &before, &mut errors);
    gates(&spec, &before, &mut errors);
    if !errors.is_empty() {
        return errors;
    }
    let mut allowed = new.get("spec").cloned().unwrap_or_default();
    if let (Some(allowed), Some(old)) = (allowed.as_object_mut(), before.value.as_object()) {
        forget_allowed(allowed, old, &spec, &before, &mut errors);
        let changed: Vec<&str> = changed(allowed, old);
        if !changed.is_empty() {
            let list = changed.iter().map(|field| format!("spec.{field}")).collect::<Vec<_>>().join(", ");
            errors.push(FieldError::forbidden("spec", format!("{UPDATABLE}\nchanged: {list}")));
        }
    }
    errors
}

fn changed<'a>(new: &'a Map<String, Value>, old: &'a Map<String, Value>) -> Vec<&'a str> {
    let empty = |v: Option<&Value>| v.is_none_or(|v| At::new(v, "").is_empty());
    let mut fields: Vec<&str> = new.keys().chain(old.keys()).map(String::as_str).collect();
    fields.sort_unstable();
    fields.dedup();
    fields.retain(|f| new.get(*f) != old.get(*f) && !(empty(new.get(*f)) && empty(old.get(*f))));
    fields
}

fn deadline(spec: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    let (now, was) = (spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"));
    match (now.int(), was.int()) {
        (Some(n), _) if !(0..=i64::from(i32::MAX)).contains(&n) => {
            errors.push(now.invalid("must be between 0 and 2147483647, inclusive"));
        }
        (Some(n), Some(o)) if n > o => errors.push(now.invalid("must be less than or equal to previous value")),
        (None, Some(_)) => errors.push(now.invalid("must not update from a positive integer to nil value")),
        _ => {}
    }
}

/// Tolerations are added, or get another time.
fn tolerations(spec: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    let timeless = |t: &Value| {
        let mut t = t.clone();
        if let Some(map) = t.as_object_mut() {
            map.remove("tolerationSeconds");
        }
        t
    };
    let now: Vec<Value> = spec.get("tolerations").items().map(|t| timeless(t.value)).collect();
    if before.get("tolerations").items().any(|t| !now.contains(&timeless(t.value))) {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(spec.get("tolerations").forbidden(why));
    }
}

/// Gates are only taken away.
fn gates(spec: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    let gates = before.get("schedulingGates");
    let known: HashSet<&str> = gates.items().map(|g| g.get("name").str()).collect();
    let list = spec.get("schedulingGates");
    for gate in list.items().filter(|g| !known.contains(g.get("name").str())) {
        let name = gate.get("name").str();
        errors.push(list.forbidden(format!("only deletion is allowed, but found new scheduling gate '{name}'")));
    }
}

/// Sets what may change to what it was.
fn forget_allowed(
    new: &mut Map<String, Value>,
    old: &Map<String, Value>,
    spec: &At<'_>,
    before: &At<'_>,
    errors: &mut Errors,
) {
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates", "ephemeralContainers"] {
        restore(new, old, field);
    }
    let grace = |map: &Map<String, Value>| map.get("terminationGracePeriodSeconds").and_then(Value::as_i64);
    if grace(new) == Some(1) && grace(old).is_some_and(|g| g < 0) {
        restore(new, old, "terminationGracePeriodSeconds");
    }
    for list in CONTAINERS {
        let was = old.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let now = new.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for (container, was) in now.zip(was) {
            if let (Some(container), Some(was)) = (container.as_object_mut(), was.as_object()) {
                restore(container, was, "image");
            }
        }
    }
    let gated = !before.get("schedulingGates").is_empty();
    if gated {
        gated_changes(new, old, spec, before, errors);
    }
}

/// While gates hold a pod, its placement may be narrowed.
fn gated_changes(
    new: &mut Map<String, Value>,
    old: &Map<String, Value>,
    spec: &At<'_>,
    before: &At<'_>,
    errors: &mut Errors,
) {
    let (selector, was) = (spec.get("nodeSelector"), before.get("nodeSelector"));
    let kept = was.entries().all(|(key, value)| selector.get(key).value == value.value);
    if !kept {
        errors.push(selector.invalid("only additions are allowed (no mutations or deletions)"));
    }
    restore(new, old, "nodeSelector");
    let (affinity, was) = (spec.get("affinity"), before.get("affinity"));
    let needed = |a: &At<'_>| a.get("nodeAffinity").get("requiredDuringSchedulingIgnoredDuringExecution").value.clone();
    if needed(&was).is_null() || needed(&affinity) == needed(&was) {
        let selector = affinity.get("nodeAffinity").get("requiredDuringSchedulingIgnoredDuringExecution");
        if selector.is_set() {
            scheduling::node_selector(&selector, errors);
        }
        for other in ["podAffinity", "podAntiAffinity"] {
            check::immutable(&affinity.get(other), &was.get(other), check::IMMUTABLE, errors);
        }
        restore(new, old, "affinity");
    }
}

fn restore(new: &mut Map<String, Value>, old: &Map<String, Value>, field: &str) {
    match old.get(field) {
        Some(value) => new.insert(field.to_owned(), value.clone()),
        None => new.remove(field),
    };
}

/// Complaints about a change through `ephemeralcontainers`: containers are only added.
pub(crate) fn validate_ephemeral(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let (now, was) =
        (At::field(new, "spec").get("ephemeralContainers"), At::field(old, "spec").get("ephemeralContainers"));
    for before in was.items() {
        let name = before.get("name").str();
        match now.items().find(|c| c.get("name").str() == name) {
            None => {
                let why = format!("existing ephemeral containers \"{name}\" may not be removed\n");
                errors.push(now.forbidden(why));
            }
            Some(after) if after.value != before.value => {
                let why = format!("existing ephemeral containers \"{name}\" may not be changed\n");
                errors.push(now.forbidden(why));
            }
            Some(_) => {}
        }
    }
    errors
}

/// Complaints about a change through `resize`.
pub(crate) fn validate_resize(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    if super::quality(new) != super::quality(old) {
        let why = "Pod QOS Class may not change as a result of resizing";
        errors.push(FieldError::invalid("spec", &Value::from(super::quality(new)), why));
    }
    let names: HashSet<String> = ["cpu", "memory"].map(str::to_owned).into();
    for list in ["containers", "initContainers"] {
        let (now, was) = (At::field(new, "spec").get(list), At::field(old, "spec").get(list));
        for (now, was) in now.items().zip(was.items()) {
            for kind in ["limits", "requests"] {
                let (now, was) = (now.get("resources").get(kind), was.get("resources").get(kind));
                let keys = now.entries().chain(was.entries()).map(|(key, _)| key).collect::<HashSet<_>>();
                let fixed = keys.into_iter().filter(|key| !names.contains(*key));
                if fixed.into_iter().any(|key| now.get(key).value != was.get(key).value) {
                    errors.push(FieldError::forbidden("spec", "only cpu and memory resources are mutable"));
                }
            }
        }
    }
    errors
}

/// Through a door only its own fields change: everything else is the old pod's.
pub(crate) fn through_door(door: &str, new: &mut Value, old: &Value) {
    let mut pod = old.clone();
    match door {
        "ephemeralcontainers" => {
            let said = new.pointer("/spec/ephemeralContainers").cloned();
            let spec = api::meta::child_mut(api::meta::map_mut(&mut pod), "spec");
            match said {
                Some(list) => spec.insert("ephemeralContainers".into(), list),
                None => spec.remove("ephemeralContainers"),
            };
        }
        _ => resize(&mut pod, new),
    }
    for field in ["managedFields", "resourceVersion"] {
        if let Some(value) = api::meta::of(new).and_then(|m| m.get(field)).cloned() {
            api::meta::set(&mut pod, field, value);
        }
    }
    *new = pod;
}

fn resize(pod: &mut Value, said: &Value) {
    for list in ["containers", "initContainers"] {
        let now = said.pointer(&format!("/spec/{list}")).and_then(Value::as_array);
        let containers = pod.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            let name = container.get("name").cloned();
            let same = now.into_iter().flatten().find(|c| c.get("name") == name.as_ref()).and_then(Value::as_object);
            if let Some(same) = same {
                restore(container, same, "resources");
                restore(container, same, "resizePolicy");
            }
        }
    }
}
