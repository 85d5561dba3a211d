//! What an update of a Job may change.

use serde_json::{Map, Value};

use super::{NAME_LABELS, UID_LABELS, job, spec};
use crate::check::{self, At, Errors, IMMUTABLE};

pub(super) fn validate(new: &Value, old: &Value) -> Errors {
    let labels = old.pointer("/spec/template/metadata/labels");
    let had = |label: &str| labels.is_some_and(|labels| labels.get(label).is_some());
    let mut errors = job::generated_selector(new, had(UID_LABELS[0]) && had(NAME_LABELS[0]));
    let (now, was) = (At::field(new, "spec"), At::field(old, "spec"));
    completions(&now, &was, &mut errors);
    let fixed = |fields: &[&str], errors: &mut Errors| {
        fields.iter().for_each(|field| check::immutable(&now.get(field), &was.get(field), IMMUTABLE, errors));
    };
    fixed(&["selector"], &mut errors);
    template(&now, old, &mut errors);
    fixed(&["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"], &mut errors);
    errors
}

/// Indexed Jobs grow and shrink as a whole.
fn completions(now: &At<'_>, was: &At<'_>, errors: &mut Errors) {
    let (all, before) = (now.get("completions"), was.get("completions"));
    if !spec::is_indexed(now) {
        check::immutable(&all, &before, IMMUTABLE, errors);
    } else if all.is_set() && all.value != before.value && all.int() != now.get("parallelism").int() {
        errors.push(all.invalid("can only be modified in tandem with spec.parallelism"));
    }
}

/// The template is for ever, but where its pods go and what they use may change while the Job is suspended and none
/// of its pods is left.
fn template(now: &At<'_>, old: &Value, errors: &mut Errors) {
    let was = At::field(old, "spec").get("template");
    let template = now.get("template");
    if !is_at_rest(old) {
        check::immutable(&template, &was, IMMUTABLE, errors);
        return;
    }
    let (pod, before) = (template.get("spec"), was.get("spec"));
    let mut allowed = before.value.as_object().cloned().unwrap_or_default();
    let said = pod.value.as_object().cloned().unwrap_or_default();
    for field in ["nodeSelector", "tolerations", "schedulingGates"] {
        take(&mut allowed, &said, field);
    }
    node_affinity(&mut allowed, &said);
    for list in ["containers", "initContainers"] {
        resources(&mut allowed, &said, list);
    }
    check::immutable(&pod, &At::new(&allowed.into(), ""), IMMUTABLE, errors);
}

/// Suspended before anything was started, or since all that was started is gone.
fn is_at_rest(job: &Value) -> bool {
    let (spec, status) = (At::field(job, "spec"), At::field(job, "status"));
    let mut conditions = status.get("conditions").items();
    let paused = conditions.any(|c| c.get("type").str() == "Suspended" && c.get("status").str() == "True");
    let active = status.get("active").int().unwrap_or(0);
    spec.get("suspend").is_true() && active == 0 && (paused || !status.get("startTime").is_set())
}

fn take(into: &mut Map<String, Value>, from: &Map<String, Value>, field: &str) {
    match from.get(field) {
        Some(value) => into.insert(field.into(), value.clone()),
        None => into.remove(field),
    };
}

fn node_affinity(allowed: &mut Map<String, Value>, said: &Map<String, Value>) {
    let of = |spec: &Map<String, Value>| spec.get("affinity").and_then(Value::as_object).cloned();
    let new = of(said);
    let mut affinity = of(allowed).unwrap_or_default();
    take(&mut affinity, new.as_ref().unwrap_or(&Map::new()), "nodeAffinity");
    if new.is_none() && affinity.is_empty() {
        allowed.remove("affinity");
    } else {
        allowed.insert("affinity".into(), affinity.into());
    }
}

fn resources(allowed: &mut Map<String, Value>, said: &Map<String, Value>, list: &str) {
    let new = said.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let Some(old) = allowed.get_mut(list).and_then(Value::as_array_mut).filter(|old| old.len() == new.len()) else {
        return;
    };
    for (container, new) in old.iter_mut().zip(new) {
        if let (Some(container), Some(new)) = (container.as_object_mut(), new.as_object())
            && container.get("name") == new.get("name")
        {
            take(container, new, "resources");
        }
    }
}
