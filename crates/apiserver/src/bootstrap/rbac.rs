//! The default roles and bindings: upstream's names, from the table in `roles.txt`.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings>

use std::sync::Arc;

use api::ApiError;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use super::{AT_ONCE, reconcile};
use crate::server::Server;

/// Lines: `role NAME [LABEL]` (or `role NAMESPACE/NAME`), then its rules `VERBS GROUPS RESOURCES [NAMES]` or
/// `VERBS url PATHS`, then `bind SUBJECT…`. Lists are comma-separated, the core group is `core`.
const TABLE: &str = include_str!("roles.txt");

/// Roles that are the sum of those with a label. The table has their rules too: they hold before the sum is made.
const AGGREGATED: [&str; 3] = ["admin", "edit", "view"];

/// Makes those that are missing and renews those that are not, many at a time: their writes share syncs.
pub(crate) async fn run(server: &Arc<Server>) -> Result<(), ApiError> {
    let objects = parse(TABLE).into_iter().flat_map(|role| objects(&role));
    let made = objects.map(|(plural, object)| async move { reconcile::ensure(server, &plural, object).await });
    futures::stream::iter(made).buffer_unordered(AT_ONCE).try_collect().await
}

/// The role and, if somebody has it, its binding.
fn objects(role: &Role<'_>) -> Vec<(String, Value)> {
    let (kind, plural) = if role.namespace.is_empty() { ("ClusterRole", "clusterroles") } else { ("Role", "roles") };
    let mut object = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": metadata(role), "rules": role.rules,
    });
    if AGGREGATED.contains(&role.name) {
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{}", role.name);
        api::meta::put(
            &mut object,
            "aggregationRule",
            json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]}),
        );
    }
    if let Some(label) = role.label {
        let key = format!("rbac.authorization.k8s.io/aggregate-to-{label}");
        api::meta::child_mut(api::meta::of_mut(&mut object), "labels").insert(key, "true".into());
    }
    let mut objects = vec![(plural.to_owned(), object)];
    if !role.subjects.is_empty() {
        objects.push((plural.replace("roles", "rolebindings"), binding(role, kind)));
    }
    objects
}

#[derive(Default)]
struct Role<'a> {
    namespace: &'a str,
    name: &'a str,
    label: Option<&'a str>,
    rules: Vec<Value>,
    subjects: Vec<Value>,
}

fn metadata(role: &Role<'_>) -> Value {
    let mut metadata = json!({
        "name": role.name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {reconcile::AUTO_UPDATE: "true"},
    });
    if !role.namespace.is_empty() {
        api::meta::put(&mut metadata, "namespace", role.namespace);
    }
    metadata
}

fn binding(role: &Role<'_>, kind: &str) -> Value {
    let metadata = metadata(role);
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": format!("{kind}Binding"), "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role.name},
        "subjects": role.subjects,
    })
}

fn parse(table: &str) -> Vec<Role<'_>> {
    let mut roles: Vec<Role<'_>> = Vec::new();
    for line in table.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words.as_slice(), roles.last_mut()) {
            (["role", name, label @ ..], _) => {
                let (namespace, name) = name.split_once('/').unwrap_or(("", name));
                roles.push(Role { namespace, name, label: label.first().copied(), ..Role::default() });
            }
            (["bind", subjects @ ..], Some(role)) => role.subjects.extend(subjects.iter().map(|s| subject(s))),
            ([verbs, "url", paths], Some(role)) => {
                role.rules.push(json!({"verbs": list(verbs), "nonResourceURLs": list(paths)}));
            }
            ([verbs, groups, resources, names @ ..], Some(role)) => {
                let groups: Vec<&str> = groups.split(',').map(|g| if g == "core" { "" } else { g }).collect();
                let mut rule = json!({"verbs": list(verbs), "apiGroups": groups, "resources": list(resources)});
                if let [names] = names {
                    api::meta::put(&mut rule, "resourceNames", list(names));
                }
                role.rules.push(rule);
            }
            _ => {}
        }
    }
    roles
}

/// Verbs have short forms: `read` and `write`.
fn list(text: &str) -> Vec<&str> {
    text.split(',')
        .flat_map(|word| match word {
            "read" => vec!["get", "list", "watch"],
            "write" => vec!["create", "delete", "deletecollection", "patch", "update"],
            word => vec![word],
        })
        .collect()
}

/// `g:GROUP`, `u:USER`, `s:NAMESPACE/ACCOUNT`
fn subject(text: &str) -> Value {
    match text.split_once(':') {
        Some(("s", account)) => {
            let (namespace, name) = account.split_once('/').unwrap_or(("kube-system", account));
            json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
        }
        Some(("g", name)) => json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": name}),
        Some((_, name)) => json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name}),
        None => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_understood() {
        let roles = parse(TABLE);
        let rules: usize = roles.iter().map(|r| r.rules.len()).sum();
        let lines = TABLE
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty() && !l.starts_with('#') && !l.starts_with("role ") && !l.starts_with("bind "))
            .count();
        assert_eq!(rules, lines);
        assert!(roles.iter().flat_map(|r| &r.subjects).all(|s| !api::meta::at(s, "/name").is_empty()));
    }

    #[test]
    fn the_roles_that_people_know_are_there() {
        let roles = parse(TABLE);
        for name in
            ["cluster-admin", "admin", "edit", "view", "system:kube-scheduler", "system:node", "system:discovery"]
        {
            assert!(roles.iter().any(|r| r.name == name), "{name}");
        }
    }
}
