//! PodDisruptionBudgets.

use api::field::FieldError;
use serde_json::{Value, json};

use crate::Rules;
use crate::check::{self, At, Errors, conditions, percent};

pub(crate) static DISRUPTION_BUDGET: Rules = Rules {
    prepare_create: |budget| {
        let status = json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0});
        api::meta::put(budget, "status", status);
    },
    validate,
    validate_status: |new, _| {
        let mut errors = Errors::new();
        let status = At::field(new, "status");
        conditions::validate(&status.get("conditions"), &mut errors);
        for field in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
            check::not_negative(&status.get(field), &mut errors);
        }
        errors
    },
    ..Rules::PLAIN
};

fn validate(budget: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(budget, "spec");
    let bounds = ["minAvailable", "maxUnavailable"].map(|field| spec.get(field));
    if bounds.iter().all(At::is_set) {
        let why = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid("spec", spec.value, why));
    }
    for bound in bounds.iter().filter(|bound| bound.is_set()) {
        percent::int_or_percent(bound, &mut errors);
        percent::not_over_all(bound, &mut errors);
    }
    check::label_selector(&spec.get("selector"), &mut errors);
    check::one_of(&spec.get("unhealthyPodEvictionPolicy"), &["AlwaysAllow", "IfHealthyBudget"], &mut errors);
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::text;

    #[test]
    fn budgets_that_are_refused() {
        for (spec, expected) in [
            (json!({"minAvailable": "50%"}), ""),
            (json!({"minAvailable": -1}), "spec.minAvailable: Invalid value: -1: must be greater than or equal to 0"),
            (
                json!({"maxUnavailable": "101%"}),
                "spec.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
            ),
            (
                json!({"minAvailable": 1, "maxUnavailable": 1}),
                "spec: Invalid value: {\"maxUnavailable\":1,\"minAvailable\":1}: minAvailable and maxUnavailable cannot be both set",
            ),
            (
                json!({"unhealthyPodEvictionPolicy": "x"}),
                "spec.unhealthyPodEvictionPolicy: Unsupported value: \"x\": supported values: \"AlwaysAllow\", \"IfHealthyBudget\"",
            ),
        ] {
            assert_eq!(text(&validate(&json!({"spec": spec}))), expected);
        }
        let found = text(&validate(&json!({"spec": {"minAvailable": "half"}})));
        assert!(
            found.starts_with("spec.minAvailable: Invalid value: \"half\": a valid percent string must be"),
            "{found}"
        );
    }

    #[test]
    fn status_is_whole() {
        let status = json!({"status": {"currentHealthy": -1, "conditions": [
            {"type": "A", "status": "x", "reason": "1"}, {"type": "A", "status": "True", "reason": "Ok", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        let found = text(&(DISRUPTION_BUDGET.validate_status)(&status, &status));
        for part in [
            "status.conditions[0].status: Unsupported value: \"x\": supported values: \"False\", \"True\", \"Unknown\"",
            "status.conditions[0].lastTransitionTime: Required value: must be set",
            "status.conditions[0].reason: Invalid value: \"1\": a condition reason must start with alphabetic character",
            "status.conditions[1].type: Duplicate value: \"A\"",
            "status.currentHealthy: Invalid value: -1: must be greater than or equal to 0",
        ] {
            assert!(found.contains(part), "{part}\n{found}");
        }
    }
}
