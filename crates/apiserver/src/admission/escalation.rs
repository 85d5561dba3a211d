//! Nobody gives rights away that he does not have: roles and bindings are compared with the writer's own rights,
//! unless he may `escalate` or `bind`.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping>

use api::ApiError;
use serde_json::Value;

use crate::authz;
use crate::authz::rbac::Rule;
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
    let mut missing: Vec<Rule> = Vec::new();
    for one in granted.iter().flat_map(single) {
        if held.iter().any(|rule| covers(rule, &one)) {
            continue;
        }
        let same = missing.iter_mut().find(|m| {
            m.api_groups == one.api_groups
                && m.resources == one.resources
                && m.resource_names == one.resource_names
                && m.non_resource_urls == one.non_resource_urls
        });
        match same {
            Some(rule) => {
                rule.verbs.extend(one.verbs.into_iter().filter(|v| !rule.verbs.contains(v)).collect::<Vec<_>>())
            }
            None => missing.push(one),
        }
    }
    let mut texts: Vec<String> = missing.iter().map(spelled).collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}

/// A rule as rules of one verb on one thing each.
fn single(rule: &Rule) -> Vec<Rule> {
    let mut all = Vec::new();
    for verb in &rule.verbs {
        for url in &rule.non_resource_urls {
            let (verbs, non_resource_urls) = (vec![verb.clone()], vec![url.clone()]);
            all.push(Rule { verbs, non_resource_urls, ..Rule::default() });
        }
        for group in &rule.api_groups {
            for resource in &rule.resources {
                let one = Rule {
                    verbs: vec![verb.clone()],
                    api_groups: vec![group.clone()],
                    resources: vec![resource.clone()],
                    ..Rule::default()
                };
                if rule.resource_names.is_empty() {
                    all.push(one);
                    continue;
                }
                let named = rule.resource_names.iter().map(|n| Rule { resource_names: vec![n.clone()], ..one.clone() });
                all.extend(named);
            }
        }
    }
    all
}

fn covers(held: &Rule, one: &Rule) -> bool {
    let has = |list: &[String], wanted: &[String]| {
        list.iter().any(|l| l == "*") || wanted.iter().all(|wanted| list.contains(wanted))
    };
    let resource = |wanted: &String| {
        let sub = wanted.split_once('/').map(|(_, sub)| format!("*/{sub}"));
        held.resources.iter().any(|r| r == "*" || r == wanted || Some(r) == sub.as_ref())
    };
    let url = |wanted: &String| {
        let matches = |u: &String| u.strip_suffix('*').map_or(u == wanted, |prefix| wanted.starts_with(prefix));
        held.non_resource_urls.iter().any(matches)
    };
    let names = held.resource_names.is_empty()
        || !one.resource_names.is_empty() && one.resource_names.iter().all(|n| held.resource_names.contains(n));
    has(&held.verbs, &one.verbs)
        && has(&held.api_groups, &one.api_groups)
        && one.resources.iter().all(resource)
        && one.non_resource_urls.iter().all(url)
        && names
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
