//! PriorityClasses.

use api::field::FieldError;
use serde_json::Value;

use crate::Rules;
use crate::check::{self, At, Errors};

/// Highest priority that users may define.
const HIGHEST_USER_PRIORITY: i64 = 1_000_000_000;
const SYSTEM: [(&str, i64); 2] = [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

pub(crate) static PRIORITY_CLASS: Rules = Rules {
    validate,
    validate_update: |new, old| {
        let mut errors = Errors::new();
        let value = |class| At::field(class, "value").int().unwrap_or(0);
        if value(new) != value(old) {
            errors.push(At::field(new, "value").forbidden("may not be changed in an update."));
        }
        let (now, was) = (At::field(new, "preemptionPolicy"), At::field(old, "preemptionPolicy"));
        check::immutable(&now, &was, check::IMMUTABLE, &mut errors);
        errors
    },
    ..Rules::PLAIN
};

fn validate(class: &Value) -> Errors {
    let mut errors = Errors::new();
    let (name, value) = (api::meta::name(class), At::field(class, "value"));
    if name.starts_with("system-") {
        if let Some(why) = unlike_the_system(class, name) {
            let why =
                format!("priority class names with 'system-' prefix are reserved for system use only. error: {why}");
            errors.push(FieldError::forbidden("metadata.name", why));
        }
    } else if value.int().unwrap_or(0) > HIGHEST_USER_PRIORITY {
        let why = format!("maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}");
        errors.push(value.forbidden(why));
    }
    let policy = At::field(class, "preemptionPolicy");
    if policy.is_set() {
        check::required_one_of(&policy, &["PreemptLowerPriority", "Never"], &mut errors);
    }
    errors
}

/// What makes a class none of the system's.
fn unlike_the_system(class: &Value, name: &str) -> Option<String> {
    let Some((_, wanted)) = SYSTEM.iter().find(|(known, _)| *known == name) else {
        return Some(format!("{name} is not a known system priority class"));
    };
    if At::field(class, "value").int() != Some(*wanted) {
        return Some(format!("value of {name} PriorityClass must be {wanted}"));
    }
    let default = At::field(class, "globalDefault").is_true();
    default.then(|| format!("globalDefault of {name} PriorityClass must be false"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tests::text;

    #[test]
    fn classes_that_are_refused() {
        let reserved = "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: ";
        for (name, rest, expected) in [
            ("a", json!({"value": 1_000_000_000}), String::new()),
            (
                "a",
                json!({"value": 1_000_000_001}),
                "value: Forbidden: maximum allowed value of a user defined priority is 1000000000".into(),
            ),
            ("system-x", json!({"value": 1}), format!("{reserved}system-x is not a known system priority class")),
            ("system-node-critical", json!({"value": 2_000_001_000}), String::new()),
            (
                "system-node-critical",
                json!({"value": 1}),
                format!("{reserved}value of system-node-critical PriorityClass must be 2000001000"),
            ),
            (
                "system-node-critical",
                json!({"value": 2_000_001_000, "globalDefault": true}),
                format!("{reserved}globalDefault of system-node-critical PriorityClass must be false"),
            ),
            (
                "a",
                json!({"preemptionPolicy": "x"}),
                "preemptionPolicy: Unsupported value: \"x\": supported values: \"PreemptLowerPriority\", \"Never\""
                    .into(),
            ),
        ] {
            let mut class = rest;
            class["metadata"] = json!({"name": name});
            assert_eq!(text(&validate(&class)), expected);
        }
    }

    #[test]
    fn values_and_policies_stay() {
        let found = (PRIORITY_CLASS.validate_update)(
            &json!({"value": 2, "preemptionPolicy": "Never"}),
            &json!({"value": 1, "preemptionPolicy": "PreemptLowerPriority"}),
        );
        assert_eq!(
            text(&found),
            "value: Forbidden: may not be changed in an update. | preemptionPolicy: Invalid value: \"Never\": field is immutable"
        );
    }
}
