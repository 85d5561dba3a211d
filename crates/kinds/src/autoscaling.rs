//! HorizontalPodAutoscalers, in the shape of v2, which v1 is turned into.

mod metrics;
#[cfg(test)]
mod tests;

use api::field::FieldError;
use serde_json::{Map, Value, json};

use crate::Rules;
use crate::check::{self, At, Errors};

const LONGEST_PERIOD: i64 = 1800;
const LONGEST_WINDOW: i64 = 3600;

pub(crate) static AUTOSCALER: Rules = Rules {
    default,
    prepare_create: |scaler| api::meta::put(scaler, "status", json!({"currentMetrics": null, "desiredReplicas": 0})),
    validate,
    validate_new: |scaler| least(&At::field(scaler, "spec").get("minReplicas"), 1),
    validate_update: |new, old| {
        // Zero was allowed at times.
        let least_of = |scaler| At::field(scaler, "spec").get("minReplicas");
        least(&least_of(new), if least_of(old).int() == Some(0) { 0 } else { 1 })
    },
    validate_status: |new, _| {
        let mut errors = Errors::new();
        for field in ["currentReplicas", "desiredReplicas"] {
            check::not_negative(&At::field(new, "status").get(field), &mut errors);
        }
        errors
    },
    ..Rules::PLAIN
};

/// Rules of behaviour are whole once one of them is said.
fn default(scaler: &mut Value) {
    let Some(behavior) = scaler.pointer_mut("/spec/behavior").and_then(Value::as_object_mut) else { return };
    let policy = |kind: &str, value: i64| json!({"type": kind, "value": value, "periodSeconds": 15});
    let up = api::meta::child_mut(behavior, "scaleUp");
    fill(up, "stabilizationWindowSeconds", 0.into());
    rules(up, vec![policy("Pods", 4), policy("Percent", 100)]);
    rules(api::meta::child_mut(behavior, "scaleDown"), vec![policy("Percent", 100)]);
}

fn rules(rules: &mut Map<String, Value>, policies: Vec<Value>) {
    fill(rules, "selectPolicy", "Max".into());
    fill(rules, "policies", policies.into());
}

fn fill(object: &mut Map<String, Value>, field: &str, value: Value) {
    if object.get(field).is_none_or(Value::is_null) {
        object.insert(field.into(), value);
    }
}

fn validate(scaler: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(scaler, "spec");
    let (least, most) = (spec.get("minReplicas"), spec.get("maxReplicas"));
    let number = most.int().unwrap_or(0);
    let mut wrong = |why| errors.push(FieldError::invalid(&most.path, &number.into(), why));
    if number < 1 {
        wrong("must be greater than 0");
    }
    if least.int().is_some_and(|least| number < least) {
        wrong("must be greater than or equal to `minReplicas`");
    }
    target(&spec.get("scaleTargetRef"), &mut errors);
    metrics::validate(&spec.get("metrics"), least.int() == Some(0), &mut errors);
    for direction in ["scaleUp", "scaleDown"] {
        direction_of(&spec.get("behavior").get(direction), &mut errors);
    }
    errors
}

fn least(at: &At<'_>, bound: i64) -> Errors {
    let low = at.int().is_some_and(|number| number < bound);
    low.then(|| at.invalid(format!("must be greater than or equal to {bound}"))).into_iter().collect()
}

/// An object of any kind, by name.
fn target(at: &At<'_>, errors: &mut Errors) {
    for field in ["kind", "name"] {
        check::required_named(&at.get(field), api::names::path_segment, errors);
    }
}

fn direction_of(rules: &At<'_>, errors: &mut Errors) {
    if !rules.is_set() {
        return;
    }
    let window = rules.get("stabilizationWindowSeconds");
    if window.int().is_some_and(|seconds| seconds < 0) {
        errors.push(window.invalid("must be greater than or equal to zero"));
    }
    at_most(&window, LONGEST_WINDOW, errors);
    check::one_of(&rules.get("selectPolicy"), &["Disabled", "Max", "Min"], errors);
    let policies = rules.get("policies");
    if policies.is_empty() {
        errors.push(policies.required("must specify at least one Policy"));
    }
    for policy in policies.items() {
        let kind = policy.get("type");
        if !matches!(kind.str(), "Percent" | "Pods") {
            errors.push(FieldError::not_supported(&kind.path, &kind.str().into(), &["Percent", "Pods"]));
        }
        for field in ["value", "periodSeconds"] {
            let at = policy.get(field);
            let number = at.int().unwrap_or(0);
            if number <= 0 {
                errors.push(FieldError::invalid(&at.path, &number.into(), "must be greater than zero"));
            }
        }
        at_most(&policy.get("periodSeconds"), LONGEST_PERIOD, errors);
    }
    let tolerance = rules.get("tolerance");
    if tolerance.is_set() {
        check::quantity(&tolerance, errors);
    }
}

fn at_most(at: &At<'_>, most: i64, errors: &mut Errors) {
    if at.int().is_some_and(|number| number > most) {
        errors.push(at.invalid(format!("must be less than or equal to {most}")));
    }
}
