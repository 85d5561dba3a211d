//! CertificateSigningRequests: who asked, and what its doors change.

use serde_json::{Map, Value, json};

use crate::Rules;
use crate::check::{self, At, Errors};

pub(crate) static SIGNING_REQUEST: Rules = Rules {
    has_generation: false,
    fields: &[("spec.signerName", "/spec/signerName")],
    prepare_create: |request| api::meta::put(request, "status", json!({})),
    prepare_update: |new, old| {
        if let Some(spec) = old.get("spec") {
            api::meta::put(new, "spec", spec.clone());
        }
    },
    door,
    validate,
    validate_status: |new, _| conditions(new),
    ..Rules::PLAIN
};

/// Whether a condition is a decision, which only the approval door takes.
fn is_decision(condition: &Value) -> bool {
    matches!(api::meta::at(condition, "/type"), "Approved" | "Denied")
}

/// `approval` changes conditions only; `status` leaves decisions as they are.
fn door(door: &str, new: &mut Value, old: &Value) {
    let said = new.get("status").cloned().unwrap_or_else(|| json!({}));
    let before = old.get("status").cloned().unwrap_or_else(|| json!({}));
    let list = |status: &Value| status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let (mut status, conditions) = match door {
        "approval" => (before, list(&said)),
        _ => {
            let decisions = list(&before).into_iter().filter(is_decision);
            let others = list(&said).into_iter().filter(|c| !is_decision(c));
            (said.clone(), decisions.chain(others).collect())
        }
    };
    let map: &mut Map<String, Value> = api::meta::map_mut(&mut status);
    if conditions.is_empty() {
        map.remove("conditions");
    } else {
        map.insert("conditions".into(), conditions.into());
    }
    api::meta::put(new, "status", status);
}

fn validate(request: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(request, "spec");
    check::required(&spec.get("request"), &mut errors);
    check::required(&spec.get("signerName"), &mut errors);
    if spec.get("usages").is_empty() {
        errors.push(spec.get("usages").required("usages is required"));
    }
    errors
}

fn conditions(request: &Value) -> Errors {
    let mut errors = Errors::new();
    let list = At::field(request, "status").get("conditions");
    for condition in list.items() {
        let (kind, status) = (condition.get("type"), condition.get("status"));
        check::required(&kind, &mut errors);
        check::required_one_of(&status, &["True", "False", "Unknown"], &mut errors);
        if matches!(kind.str(), "Approved" | "Denied" | "Failed") && status.str() != "True" {
            errors.push(status.not_supported(&["True"]));
        }
    }
    let has = |kind: &str| list.items().any(|c| c.get("type").str() == kind);
    if has("Approved") && has("Denied") {
        errors.push(list.invalid("Approved and Denied conditions are mutually exclusive"));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_door_changes_its_own() {
        let approved = json!({"type": "Approved", "status": "True"});
        let old = json!({"status": {"certificate": "c"}});
        let mut new = json!({"status": {"certificate": "d", "conditions": [approved]}});
        let mut by_status = new.clone();
        door("approval", &mut new, &old);
        assert_eq!(new, json!({"status": {"certificate": "c", "conditions": [approved]}}));
        door("status", &mut by_status, &old);
        assert_eq!(by_status, json!({"status": {"certificate": "d"}}));
        let both = json!({"status": {"conditions": [approved, {"type": "Denied", "status": "True"}]}});
        assert_eq!(conditions(&both).len(), 1);
    }
}
