//! RuntimeClasses.

use serde_json::{Value, json};

use crate::Rules;
use crate::check::{self, At, Errors};
use crate::core::pod::containers::resources;
use crate::core::pod::scheduling;

pub(crate) static RUNTIME_CLASS: Rules = Rules {
    has_generation: false,
    validate,
    validate_update: |new, old| {
        let mut errors = Errors::new();
        check::immutable(&At::field(new, "handler"), &At::field(old, "handler"), check::IMMUTABLE, &mut errors);
        errors
    },
    ..Rules::PLAIN
};

fn validate(class: &Value) -> Errors {
    let mut errors = Errors::new();
    check::named(&At::field(class, "handler"), api::names::dns_label, &mut errors);
    let fixed = At::field(class, "overhead").get("podFixed");
    if fixed.is_set() {
        // As if it were a limit: upstream's paths say so.
        resources::validate(&At::new(&json!({"limits": fixed.value}), "overhead"), &mut errors);
    }
    let placed = At::field(class, "scheduling");
    check::labels(&placed.get("nodeSelector"), &mut errors);
    let tolerations = placed.get("tolerations");
    // Upstream's path has the word twice.
    scheduling::tolerations(&At::new(tolerations.value, "scheduling.tolerations.tolerations"), &mut errors);
    let mut seen = Vec::new();
    for toleration in tolerations.items() {
        let key = ["key", "operator", "value", "effect"].map(|field| toleration.get(field).str());
        if seen.contains(&key) {
            errors.push(toleration.duplicate());
        }
        seen.push(key);
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::text;

    #[test]
    fn classes_that_are_refused() {
        for (class, expected) in [
            (
                json!({"handler": "runc", "overhead": {"podFixed": {"cpu": "1"}}, "scheduling": {"nodeSelector": {"a": "b"}}}),
                "",
            ),
            (
                json!({"handler": "runc", "overhead": {"podFixed": {"cpu": "-1"}}}),
                "overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
            ),
            (
                json!({"handler": "runc", "scheduling": {"tolerations": [{"key": "a", "operator": "Exists"}, {"key": "a", "operator": "Exists"}]}}),
                "scheduling.tolerations[1]: Duplicate value: {\"key\":\"a\",\"operator\":\"Exists\"}",
            ),
        ] {
            assert_eq!(text(&validate(&class)), expected);
        }
        assert!(
            text(&validate(&json!({"handler": "A"})))
                .starts_with("handler: Invalid value: \"A\": a lowercase RFC 1123 label")
        );
        let found = (RUNTIME_CLASS.validate_update)(&json!({"handler": "a"}), &json!({"handler": "b"}));
        assert_eq!(text(&found), "handler: Invalid value: \"a\": field is immutable");
    }
}
