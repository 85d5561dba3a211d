//! Nodes.

use std::collections::HashSet;

use api::field::FieldError;
use api::names;
use serde_json::Value;

use crate::check::{self, At, Errors};

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// Both spellings of the address range agree.
pub(crate) fn default(node: &mut Value) {
    let Some(spec) = node.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let one = spec.get("podCIDR").and_then(Value::as_str).unwrap_or_default().to_owned();
    let first = spec.get("podCIDRs").and_then(|l| l.get(0)).and_then(Value::as_str).unwrap_or_default().to_owned();
    if first.is_empty() && !one.is_empty() {
        spec.insert("podCIDRs".into(), serde_json::json!([one]));
    } else if one.is_empty() && !first.is_empty() {
        spec.insert("podCIDR".into(), first.into());
    }
}

pub(crate) fn validate(node: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(node, "spec");
    taints(&spec.get("taints"), &mut errors);
    for range in spec.get("podCIDRs").items() {
        check::cidr(&range, &mut errors);
    }
    errors
}

fn taints(list: &At<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for taint in list.items() {
        let (key, value, effect) = (taint.get("key"), taint.get("value"), taint.get("effect"));
        check::required_named(&key, names::qualified_name, errors);
        check::optional_named(&value, names::label_value, errors);
        check::required_one_of(&effect, EFFECTS, errors);
        if !seen.insert((key.str(), effect.str())) {
            let mut error = taint.duplicate();
            error.field.clone_from(&taint.path);
            errors.push(error);
        }
    }
}

pub(crate) fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let (spec, before) = (At::field(new, "spec"), At::field(old, "spec"));
    for (field, place) in [("podCIDRs", "spec.podCIDRs"), ("providerID", "spec.providerID")] {
        let (now, was) = (spec.get(field), before.get(field));
        if !was.is_empty() && now.value != was.value {
            let name = if field == "podCIDRs" { "podCIDR" } else { field };
            let why = format!("node updates may not change {name} except from \"\" to valid");
            errors.push(FieldError::forbidden(place, why));
        }
    }
    let rest = |spec: &At<'_>| {
        let mut rest = spec.value.as_object().cloned().unwrap_or_default();
        rest.retain(|key, value| {
            let free = matches!(
                key.as_str(),
                "taints" | "unschedulable" | "configSource" | "podCIDR" | "podCIDRs" | "providerID"
            );
            !free && !value.is_null()
        });
        rest
    };
    if rest(&spec) != rest(&before) {
        let why = "node updates may only change labels, taints, or capacity (or configSource, if the DynamicKubeletConfig feature gate is enabled)";
        errors.push(FieldError::forbidden("spec", why));
    }
    errors
}
