//! RBAC: roles and bindings, compiled for look-ups and renewed when one of them changes.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/>

use std::collections::HashMap;
use std::sync::Arc;

use api::ApiError;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use storage::{ListOptions, Watch};

use crate::context::User;
use crate::request::{RequestInfo, ResourceRequest};
use crate::server::{Server, read_error};

const PREFIXES: [&str; 4] =
    ["/registry/clusterroles/", "/registry/clusterrolebindings/", "/registry/roles/", "/registry/rolebindings/"];

/// A policy rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Rule {
    pub(crate) verbs: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) api_groups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) resources: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub(crate) non_resource_urls: Vec<String>,
}

impl Rule {
    fn allows(&self, request: &RequestInfo) -> bool {
        match request {
            RequestInfo::Resource(r) => self.allows_resource(r),
            RequestInfo::Path { verb, path } => {
                has(&self.verbs, verb) && self.non_resource_urls.iter().any(|url| url_matches(url, path))
            }
        }
    }

    fn allows_resource(&self, r: &ResourceRequest) -> bool {
        let resource = |rule: &String| match rule.as_str() {
            "*" => true,
            rule if r.subresource.is_empty() => rule == r.resource,
            rule => rule
                .split_once('/')
                .is_some_and(|(main, sub)| (main == "*" || main == r.resource) && sub == r.subresource),
        };
        has(&self.verbs, r.verb)
            && has(&self.api_groups, &r.group)
            && self.resources.iter().any(resource)
            && (self.resource_names.is_empty() || self.resource_names.contains(&r.name))
    }
}

fn has(list: &[String], item: &str) -> bool {
    list.iter().any(|l| l == "*" || l == item)
}

fn url_matches(url: &str, path: &str) -> bool {
    match url.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => url == path,
    }
}

/// Rules that a subject has, in a namespace or everywhere.
struct Grant {
    namespace: Option<String>,
    rules: Arc<Vec<Rule>>,
}

#[derive(Default)]
struct Compiled {
    by_subject: HashMap<String, Vec<Grant>>,
}

/// The RBAC authorizer.
pub(crate) struct Rbac {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    watches: Vec<Watch>,
    compiled: Option<Arc<Compiled>>,
}

impl Rbac {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default() }
    }

    pub(crate) async fn allowed(&self, server: &Arc<Server>, user: &User, request: &RequestInfo) -> bool {
        let Ok(compiled) = self.compiled(server).await else { return false };
        let namespace = match request {
            RequestInfo::Resource(r) => r.namespace.as_str(),
            RequestInfo::Path { .. } => "",
        };
        grants(&compiled, user)
            .filter(|g| g.namespace.as_deref().is_none_or(|n| n == namespace && !namespace.is_empty()))
            .any(|g| g.rules.iter().any(|r| r.allows(request)))
    }

    /// All rules that a user has in a namespace.
    pub(crate) async fn rules(&self, server: &Arc<Server>, user: &User, namespace: &str) -> Vec<Rule> {
        let Ok(compiled) = self.compiled(server).await else { return Vec::new() };
        grants(&compiled, user)
            .filter(|g| g.namespace.as_deref().is_none_or(|n| n == namespace))
            .flat_map(|g| g.rules.iter().cloned())
            .collect()
    }

    async fn compiled(&self, server: &Arc<Server>) -> Result<Arc<Compiled>, ApiError> {
        {
            let mut state = self.state.lock();
            let quiet = state.watches.len() == PREFIXES.len()
                && state.watches.iter_mut().all(|w| w.pending().is_ok_and(|e| e.is_empty()));
            if let Some(compiled) = state.compiled.clone().filter(|_| quiet) {
                return Ok(compiled);
            }
        }
        let from = server.store.current().await.map_err(read_error)?;
        let watches = PREFIXES.iter().map(|p| server.store.watch(p, from).map_err(read_error));
        let watches = watches.collect::<Result<Vec<_>, _>>()?;
        let compiled = Arc::new(compile(server).await?);
        let mut state = self.state.lock();
        state.watches = watches;
        state.compiled = Some(compiled.clone());
        Ok(compiled)
    }
}

fn grants<'a>(compiled: &'a Compiled, user: &'a User) -> impl Iterator<Item = &'a Grant> {
    let subjects =
        std::iter::once(format!("User:{}", user.name)).chain(user.groups.iter().map(|g| format!("Group:{g}")));
    subjects.filter_map(|s| compiled.by_subject.get(&s)).flatten()
}

async fn compile(server: &Arc<Server>) -> Result<Compiled, ApiError> {
    let mut trees: Vec<Vec<Value>> = Vec::new();
    for prefix in PREFIXES {
        let page = server.store.list(ListOptions { prefix, ..ListOptions::default() }).await.map_err(read_error)?;
        trees.push(page.entries.iter().filter_map(|e| serde_json::from_slice(&e.value).ok()).collect());
    }
    let mut rules: HashMap<(String, String), Arc<Vec<Rule>>> = HashMap::new();
    for role in trees.first().into_iter().chain(trees.get(2)).flatten() {
        let list = role.get("rules").cloned().and_then(|r| serde_json::from_value(r).ok()).unwrap_or_default();
        let key = (api::meta::namespace(role).to_owned(), api::meta::name(role).to_owned());
        rules.insert(key, Arc::new(list));
    }
    let mut compiled = Compiled::default();
    for binding in trees.get(1).into_iter().chain(trees.get(3)).flatten() {
        compile_binding(binding, &rules, &mut compiled);
    }
    Ok(compiled)
}

fn compile_binding(binding: &Value, rules: &HashMap<(String, String), Arc<Vec<Rule>>>, compiled: &mut Compiled) {
    let namespace = api::meta::namespace(binding);
    let role_namespace = if api::meta::at(binding, "/roleRef/kind") == "Role" { namespace } else { "" };
    let key = (role_namespace.to_owned(), api::meta::at(binding, "/roleRef/name").to_owned());
    let Some(rules) = rules.get(&key) else { return };
    for subject in binding.get("subjects").and_then(Value::as_array).into_iter().flatten() {
        let name = api::meta::at(subject, "/name");
        let key = match api::meta::at(subject, "/kind") {
            "ServiceAccount" => {
                format!("User:system:serviceaccount:{}:{name}", api::meta::at(subject, "/namespace"))
            }
            kind => format!("{kind}:{name}"),
        };
        let namespace = (!namespace.is_empty()).then(|| namespace.to_owned());
        compiled.by_subject.entry(key).or_default().push(Grant { namespace, rules: rules.clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Rule {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        Rule {
            verbs: owned(verbs),
            api_groups: owned(groups),
            resources: owned(resources),
            resource_names: owned(names),
            non_resource_urls: Vec::new(),
        }
    }

    fn request(verb: &'static str, group: &str, resource: &str, sub: &str, name: &str) -> ResourceRequest {
        ResourceRequest {
            verb,
            group: group.into(),
            resource: resource.into(),
            subresource: sub.into(),
            name: name.into(),
            ..Default::default()
        }
    }

    #[test]
    fn subresources_need_rules_of_their_own() {
        let pods = rule(&["get"], &[""], &["pods"], &[]);
        assert!(pods.allows_resource(&request("get", "", "pods", "", "a")));
        assert!(!pods.allows_resource(&request("get", "", "pods", "log", "a")));
        assert!(rule(&["*"], &[""], &["pods/log"], &[]).allows_resource(&request("get", "", "pods", "log", "a")));
        assert!(rule(&["*"], &["*"], &["*/scale"], &[]).allows_resource(&request("get", "apps", "x", "scale", "a")));
        assert!(rule(&["*"], &["*"], &["*"], &[]).allows_resource(&request("get", "apps", "x", "scale", "a")));
    }

    #[test]
    fn names_narrow() {
        let one = rule(&["get"], &[""], &["secrets"], &["a"]);
        assert!(one.allows_resource(&request("get", "", "secrets", "", "a")));
        assert!(!one.allows_resource(&request("get", "", "secrets", "", "b")));
        assert!(!one.allows_resource(&request("list", "", "secrets", "", "a")));
    }

    #[test]
    fn urls_with_a_star_are_prefixes() {
        assert!(url_matches("/healthz/*", "/healthz/ping") && url_matches("*", "/x"));
        assert!(!url_matches("/healthz", "/healthz/ping"));
    }
}
