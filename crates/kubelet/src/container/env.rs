//! Environment variables of a container, and the expansion of `$(NAME)`.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{Container, EnvVarSource, Pod};

use super::field::{self, Addresses, Allocatable};
use crate::services::Service;
use crate::spec;

/// ConfigMaps and Secrets that variables are taken from; none for what does not exist.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    pub(crate) config_maps: HashMap<String, BTreeMap<String, String>>,
    pub(crate) secrets: HashMap<String, BTreeMap<String, Vec<u8>>>,
}

/// What variables may refer to besides the pod.
pub(crate) struct Context<'a> {
    pub(crate) sources: &'a Sources,
    pub(crate) services: &'a [Service],
    pub(crate) addresses: &'a Addresses,
    pub(crate) node: &'a Allocatable,
}

/// Variables in the order of their first appearance; a later one of the same name wins.
#[derive(Default)]
struct Variables {
    order: Vec<String>,
    values: HashMap<String, String>,
}

impl Variables {
    fn set(&mut self, name: String, value: String) {
        if self.values.insert(name.clone(), value).is_none() {
            self.order.push(name);
        }
    }
}

/// The names of ConfigMaps and Secrets that a container's variables need.
pub(crate) fn references(container: &Container) -> (Vec<String>, Vec<String>) {
    let (mut config_maps, mut secrets) = (Vec::new(), Vec::new());
    for from in container.env_from.iter().flatten() {
        config_maps.extend(from.config_map_ref.as_ref().map(|reference| reference.name.clone()));
        secrets.extend(from.secret_ref.as_ref().map(|reference| reference.name.clone()));
    }
    for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        config_maps.extend(source.config_map_key_ref.as_ref().map(|reference| reference.name.clone()));
        secrets.extend(source.secret_key_ref.as_ref().map(|reference| reference.name.clone()));
    }
    (config_maps, secrets)
}

pub(crate) fn variables(
    pod: &Pod,
    container: &Container,
    context: &Context<'_>,
) -> Result<Vec<(String, String)>, String> {
    let mut variables = Variables::default();
    let mut service_values = HashMap::new();
    for (name, value) in crate::services::variables(pod, context.services) {
        service_values.insert(name, value);
    }
    from_sources(container, context.sources, &mut variables)?;
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (_, Some(source)) => match from(pod, container, source, context)? {
                Some(value) => value,
                None => continue,
            },
            (Some(value), None) => {
                expand(value, |name| variables.values.get(name).or_else(|| service_values.get(name)).cloned())
            }
            (None, None) => String::new(),
        };
        variables.set(variable.name.clone(), value);
    }
    let mut services: Vec<_> = service_values.into_iter().collect();
    services.sort();
    for (name, value) in services {
        if !variables.values.contains_key(&name) {
            variables.set(name, value);
        }
    }
    let Variables { order, mut values } = variables;
    Ok(order.into_iter().filter_map(|name| values.remove(&name).map(|value| (name, value))).collect())
}

fn from_sources(container: &Container, sources: &Sources, variables: &mut Variables) -> Result<(), String> {
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.clone().unwrap_or_default();
        if let Some(reference) = &from.config_map_ref {
            match sources.config_maps.get(&reference.name) {
                Some(data) => {
                    data.iter().for_each(|(key, value)| variables.set(format!("{prefix}{key}"), value.clone()))
                }
                None if reference.optional == Some(true) => {}
                None => return Err(format!("configmap \"{}\" not found", reference.name)),
            }
        }
        if let Some(reference) = &from.secret_ref {
            match sources.secrets.get(&reference.name) {
                Some(data) => data.iter().for_each(|(key, value)| {
                    variables.set(format!("{prefix}{key}"), String::from_utf8_lossy(value).into_owned());
                }),
                None if reference.optional == Some(true) => {}
                None => return Err(format!("secret \"{}\" not found", reference.name)),
            }
        }
    }
    Ok(())
}

fn from(
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    context: &Context<'_>,
) -> Result<Option<String>, String> {
    if let Some(selector) = &source.field_ref {
        return field::field(pod, &selector.field_path, context.addresses).map(Some);
    }
    if let Some(selector) = &source.resource_field_ref {
        return field::resource(pod, &container.name, selector, context.node).map(Some);
    }
    let namespace = spec::namespace(pod);
    if let Some(selector) = &source.config_map_key_ref {
        let optional = selector.optional == Some(true);
        let Some(data) = context.sources.config_maps.get(&selector.name) else {
            return missing(optional, format!("configmap \"{}\" not found", selector.name));
        };
        let value = data.get(&selector.key).cloned();
        let message = || format!("couldn't find key {} in ConfigMap {namespace}/{}", selector.key, selector.name);
        return value.map_or_else(|| missing(optional, message()), |value| Ok(Some(value)));
    }
    if let Some(selector) = &source.secret_key_ref {
        let optional = selector.optional == Some(true);
        let Some(data) = context.sources.secrets.get(&selector.name) else {
            return missing(optional, format!("secret \"{}\" not found", selector.name));
        };
        let value = data.get(&selector.key).map(|value| String::from_utf8_lossy(value).into_owned());
        let message = || format!("couldn't find key {} in Secret {namespace}/{}", selector.key, selector.name);
        return value.map_or_else(|| missing(optional, message()), |value| Ok(Some(value)));
    }
    Ok(Some(String::new()))
}

fn missing(optional: bool, message: String) -> Result<Option<String>, String> {
    if optional { Ok(None) } else { Err(message) }
}

/// Replaces `$(NAME)` by the value of NAME; `$$` is a dollar; what is not known stays as it is.
pub(crate) fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let lookup = |name: &str| (name == "A").then(|| "x".to_owned());
        assert_eq!(expand(text, lookup), expected, "{text}");
    }

    #[test]
    fn references_are_expanded_as_upstream_does() {
        check("$(A)", "x");
        check("a$(A)b$(A)", "axbx");
        check("$$(A)", "$(A)");
        check("$$$(A)", "$x");
        check("$(B)", "$(B)");
        check("$A", "$A");
        check("$(A", "$(A");
        check("100$", "100$");
        check("$()", "$()");
    }

    #[test]
    fn variables_refer_to_earlier_ones_and_to_sources() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "ns", "labels": {"app": "x"}},
            "spec": {"containers": [{"name": "c", "env": [
                {"name": "A", "value": "1"},
                {"name": "B", "value": "$(A)$(C)"},
                {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "K", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}},
                {"name": "O", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k", "optional": true}}},
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}
            ], "envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}}]}]}
        }))
        .unwrap();
        let mut sources = Sources::default();
        sources.config_maps.insert("cm".into(), BTreeMap::from([("k".into(), "v".into())]));
        let node = Allocatable { cpu_milli: 1500, ..Default::default() };
        let context = Context { sources: &sources, services: &[], addresses: &Addresses::default(), node: &node };
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let found = variables(&pod, container, &context).unwrap();
        let text: Vec<String> = found.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(text, ["P_k=v", "A=1", "B=1$(C)", "N=x", "K=v", "CPU=2"]);
        let none = Sources::default();
        let context = Context { sources: &none, ..context };
        assert_eq!(variables(&pod, container, &context).unwrap_err(), "configmap \"cm\" not found");
    }
}
