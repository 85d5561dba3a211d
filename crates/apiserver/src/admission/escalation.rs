//! Nobody gives rights away that he does not have: roles and bindings are compared with the writer's own rights,
//! unless he may `escalate` or `bind`.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping>

use api::ApiError;
use serde_json::Value;

use crate::authz::rbac::Rule;
use crate::authz::{self, covers};
use crate::context::Context;
use crate::request::{RequestInfo, ResourceRequest};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) async fn check(context: &Context, new: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    let plural = context.kind.resource.plural;
    if context.kind.resource.group != GROUP || context.user.in_group("system:masters") {
        return Ok(());
    }
    let same = |fields: &[&str]| old.is_some_and(|old| fields.iter().all(|f| old.get(f) == new.get(f)));
    let (verb, resource, name, granted) = if plural.ends_with("bindings") {
        if same(&["roleRef", "subjects"]) {
            return Ok(());
        }
        let cluster = api::meta::at(new, "/roleRef/kind") == "ClusterRole";
        let resource = if cluster { "clusterroles" } else { "roles" };
        let name = api::meta::at(new, "/roleRef/name");
        ("bind", resource, name, None)
    } else {
        if same(&["rules", "aggregationRule"]) {
            return Ok(());
        }
        ("escalate", plural, api::meta::name(new), Some(rules_of(new)))
    };
    if may(context, verb, resource, name).await {
        return Ok(());
    }
    let granted = match granted {
        Some(rules) => rules,
        None => {
            let namespace = if resource == "roles" { context.namespace.as_str() } else { "" };
            rules_of(&context.server.own(GROUP, resource, namespace)?.current(name).await?.tree()?)
        }
    };
    let held = context.server.rbac.rules(&context.server, &context.user, &context.namespace).await;
    let missing = missing(&held, &granted);
    if missing.is_empty() {
        return Ok(());
    }
    let why = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        context.user.name,
        list(&context.user.groups),
        missing.join("\n")
    );
    Err(context.kind.forbidden(api::meta::name(new), &why))
}

fn rules_of(role: &Value) -> Vec<Rule> {
    role.get("rules").cloned().and_then(|rules| serde_json::from_value(rules).ok()).unwrap_or_default()
}

async fn may(context: &Context, verb: &'static str, resource: &str, name: &str) -> bool {
    let request = ResourceRequest {
        verb,
        group: GROUP.into(),
        version: "v1".into(),
        namespace: context.namespace.clone(),
        resource: resource.into(),
        name: name.into(),
        ..ResourceRequest::default()
    };
    authz::allowed(&context.server, &context.user, &RequestInfo::Resource(request)).await
}

/// What is granted but not held, as upstream spells rules.
fn missing(held: &[Rule], granted: &[Rule]) -> Vec<String> {
    let mut texts: Vec<String> = covers::missing(held, granted).iter().map(spelled).collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}

fn list(items: &[String]) -> String {
    let quoted: Vec<String> = items.iter().map(|i| format!("{i:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

fn spelled(rule: &Rule) -> String {
    let parts = [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("ResourceNames", &rule.resource_names),
        ("Verbs", &rule.verbs),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(_, items)| !items.is_empty())
        .map(|(name, items)| format!("{name}:{}", list(items)))
        .collect();
    format!("{{{}}}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rules(value: Value) -> Vec<Rule> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_not_held_is_named() {
        let held = rules(json!([
            {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "*/status"]},
            {"verbs": ["*"], "apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["a"]},
            {"verbs": ["get"], "nonResourceURLs": ["/healthz/*"]},
        ]));
        for (granted, expected) in [
            (json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "nodes/status"]}]), vec![]),
            (json!([{"verbs": ["get"], "nonResourceURLs": ["/healthz/x"]}]), vec![]),
            (
                json!([{"verbs": ["get", "create", "delete"], "apiGroups": [""], "resources": ["pods"]}]),
                vec![r#"{APIGroups:[""], Resources:["pods"], Verbs:["create" "delete"]}"#],
            ),
            (
                json!([{"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments"]}]),
                vec![r#"{APIGroups:["apps"], Resources:["deployments"], Verbs:["get"]}"#],
            ),
            (
                json!([{"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["a", "b"]}]),
                vec![r#"{APIGroups:["apps"], Resources:["deployments"], ResourceNames:["b"], Verbs:["get"]}"#],
            ),
        ] {
            assert_eq!(missing(&held, &rules(granted)), expected);
        }
    }
}
