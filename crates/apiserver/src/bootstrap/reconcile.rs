//! Default roles and bindings that an older version made get what they lack; what others added stays. An annotation
//! turns it off for one of them.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#auto-reconciliation>

use std::sync::Arc;

use api::ApiError;
use serde_json::{Map, Value};

use crate::authz::covers;
use crate::authz::rbac::Rule;
use crate::server::Server;

const GROUP: &str = "rbac.authorization.k8s.io";
pub(super) const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
/// Other masters may be at it, too.
const ATTEMPTS: usize = 5;

/// Makes a role or a binding, or brings the present one up to date.
pub(super) async fn ensure(server: &Arc<Server>, plural: &str, wanted: Value) -> Result<(), ApiError> {
    let context = server.own(GROUP, plural, api::meta::namespace(&wanted))?;
    let name = api::meta::name(&wanted).to_owned();
    for _ in 0..ATTEMPTS {
        let present = match context.current(&name).await {
            Err(error) if error.reason == "NotFound" => return super::ensure(server, GROUP, plural, wanted).await,
            present => present?,
        };
        let Some(better) = reconciled(&present.tree()?, &wanted) else { return Ok(()) };
        match context.update(&name, better).await {
            Err(error) if matches!(error.reason, "Conflict" | "NotFound") => {}
            Err(error) => return Err(error),
            Ok(_) => {
                tracing::info!(resource = plural, name, "a default of an older version got what is new");
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The present one with what it lacks; none if it lacks nothing or is not to be touched.
fn reconciled(present: &Value, wanted: &Value) -> Option<Value> {
    // A binding to another role, under this name, is somebody's own.
    let others = wanted.get("roleRef").is_some_and(|to| {
        ["kind", "name"].iter().any(|f| present.get("roleRef").and_then(|is| is.get(f)) != to.get(f))
    });
    if others || api::meta::annotation(present, AUTO_UPDATE) == Some("false") {
        return None;
    }
    let mut better = present.clone();
    for field in ["annotations", "labels"] {
        add_texts(&mut better, wanted, field);
    }
    if wanted.get("subjects").is_some() {
        add_items(api::meta::map_mut(&mut better), wanted, "subjects", same_subject);
    } else if let Some(sum) = wanted.get("aggregationRule") {
        // The rules are the sum's.
        let rule = api::meta::child_mut(api::meta::map_mut(&mut better), "aggregationRule");
        add_items(rule, sum, "clusterRoleSelectors", |one, other| one == other);
    } else {
        add_rules(&mut better, wanted);
    }
    (better != *present).then_some(better)
}

fn add_texts(better: &mut Value, wanted: &Value, field: &str) {
    let Some(wanted) = wanted.pointer(&format!("/metadata/{field}")).and_then(Value::as_object) else { return };
    let texts = api::meta::child_mut(api::meta::of_mut(better), field);
    for (key, text) in wanted {
        texts.entry(key).or_insert_with(|| text.clone());
    }
}

fn add_items(better: &mut Map<String, Value>, wanted: &Value, field: &str, same: fn(&Value, &Value) -> bool) {
    let mut list = better.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    for item in wanted.get(field).and_then(Value::as_array).into_iter().flatten() {
        if !list.iter().any(|present| same(present, item)) {
            list.push(item.clone());
        }
    }
    better.insert(field.to_owned(), list.into());
}

fn same_subject(one: &Value, other: &Value) -> bool {
    ["/kind", "/namespace", "/name"].iter().all(|at| api::meta::at(one, at) == api::meta::at(other, at))
}

fn add_rules(better: &mut Value, wanted: &Value) {
    let rules = |role: &Value| -> Vec<Rule> {
        role.get("rules").cloned().and_then(|rules| serde_json::from_value(rules).ok()).unwrap_or_default()
    };
    let missing = covers::missing(&rules(better), &rules(wanted));
    if missing.is_empty() {
        return;
    }
    let missing = missing.into_iter().filter_map(|rule| serde_json::to_value(rule).ok());
    let map = api::meta::map_mut(better);
    match map.get_mut("rules").and_then(Value::as_array_mut).filter(|rules| !rules.is_empty()) {
        Some(rules) => rules.extend(missing),
        // A role without a rule gets the rules as they are written.
        None => drop(map.insert("rules".into(), wanted.get("rules").cloned().unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn role(annotation: &str, rules: Value) -> Value {
        json!({"metadata": {"name": "r", "annotations": {AUTO_UPDATE: annotation}, "labels": {"a": "b"}}, "rules": rules})
    }

    #[test]
    fn a_role_gets_the_rules_that_it_lacks_and_keeps_its_own() {
        let read = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
        let own = json!({"verbs": ["delete"], "apiGroups": ["x"], "resources": ["y"]});
        let more = json!([{"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods"]}]);
        let found = reconciled(&role("true", json!([read, own])), &role("true", more.clone())).unwrap();
        let added = json!({"verbs": ["list", "watch"], "apiGroups": [""], "resources": ["pods"]});
        assert_eq!(found["rules"], json!([read, own, added]));
        assert_eq!(reconciled(&found, &role("true", more.clone())), None);
        assert_eq!(reconciled(&role("false", json!([read])), &role("true", more.clone())), None);
        let everything = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
        assert_eq!(reconciled(&role("true", everything), &role("true", more.clone())), None);
        assert_eq!(reconciled(&role("true", json!([])), &role("true", more.clone())).unwrap()["rules"], more);
    }

    #[test]
    fn labels_that_are_there_win() {
        let mut wanted = role("true", json!([]));
        wanted["metadata"]["labels"] = json!({"a": "c", "new": "1"});
        let found = reconciled(&role("true", json!([])), &wanted).unwrap();
        assert_eq!(found["metadata"]["labels"], json!({"a": "b", "new": "1"}));
    }

    #[test]
    fn a_sum_gets_selectors_but_no_rules() {
        let selector = json!({"matchLabels": {"sum": "true"}});
        let sum = |rules: Value| {
            let mut role = role("true", rules);
            role["aggregationRule"] = json!({"clusterRoleSelectors": [selector]});
            role
        };
        let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
        let found = reconciled(&role("true", json!([])), &sum(rules.clone())).unwrap();
        assert_eq!(found, sum(json!([])));
        assert_eq!(reconciled(&found, &sum(rules)), None);
    }

    #[test]
    fn a_binding_gets_subjects_unless_it_binds_another_role() {
        let binding = |role: &str, subjects: Value| json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": subjects});
        let (one, other) = (json!({"kind": "Group", "name": "g"}), json!({"kind": "User", "name": "u"}));
        let found = reconciled(&binding("r", json!([one])), &binding("r", json!([other]))).unwrap();
        assert_eq!(found["subjects"], json!([one, other]));
        assert_eq!(reconciled(&binding("x", json!([one])), &binding("r", json!([other]))), None);
        let stored = json!({"kind": "Group", "name": "g", "apiGroup": GROUP});
        assert_eq!(reconciled(&binding("r", json!([stored])), &binding("r", json!([one]))), None);
    }
}
