//! Environment of containers.

use api::field::FieldError;
use api::names;
use serde_json::json;

use crate::check::{self, At, Errors};

const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
const FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields that exist for volumes and selectors, but not for the environment.
const ELSEWHERE: &[&str] =
    &["metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "status.phase"];
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

pub(super) fn validate(container: &At<'_>, errors: &mut Errors) {
    for variable in container.get("env").items() {
        check::required_named(&variable.get("name"), variable_name, errors);
        value_from(&variable, errors);
    }
    for source in container.get("envFrom").items() {
        check::optional_named(&source.get("prefix"), variable_name, errors);
        let given: Vec<_> =
            ["configMapRef", "secretRef"].map(|s| source.get(s)).into_iter().filter(At::is_set).collect();
        let complain = |why: &str| FieldError::invalid(&source.path, &json!(""), why);
        match given.as_slice() {
            [one] => {
                check::required_named(&one.get("name"), names::dns_subdomain, errors);
            }
            [] => errors.push(complain("must specify one of: `configMapRef` or `secretRef`")),
            _ => errors.push(complain("may not have more than one field specified at a time")),
        }
    }
}

fn variable_name(name: &str) -> Result<(), String> {
    if !name.is_empty() && name.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        return Ok(());
    }
    Err("a valid environment variable name must consist only of printable ASCII characters other than '='".into())
}

fn value_from(variable: &At<'_>, errors: &mut Errors) {
    let from = variable.get("valueFrom");
    if !from.is_set() {
        return;
    }
    let complain = |why: &str| FieldError::invalid(&from.path, &json!(""), why);
    if !variable.get("value").is_empty() {
        errors.push(complain("may not be specified when `value` is not empty"));
        return;
    }
    let given: Vec<_> = SOURCES.into_iter().filter(|s| from.get(s).is_set()).collect();
    match given.as_slice() {
        ["fieldRef"] => field_ref(&from.get("fieldRef"), FIELDS, errors),
        ["resourceFieldRef"] => resource_ref(&from.get("resourceFieldRef"), errors),
        [source @ ("configMapKeyRef" | "secretKeyRef")] => {
            let source = from.get(source);
            check::required(&source.get("name"), errors);
            check::required_named(&source.get("key"), check::config_key, errors);
        }
        [_] => {}
        [] => errors
            .push(complain("must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`")),
        _ => errors.push(complain("may not have more than one field specified at a time")),
    }
}

/// A reference to a field of the pod.
pub(crate) fn field_ref(at: &At<'_>, fields: &[&str], errors: &mut Errors) {
    let (version, path) = (at.get("apiVersion"), at.get("fieldPath"));
    if !check::required(&version, errors) || !check::required(&path, errors) {
        return;
    }
    let text = path.str();
    if let Some((map, key)) = text.strip_suffix(']').and_then(|t| t.split_once("['")) {
        let key = key.strip_suffix('\'').unwrap_or(key);
        if !matches!(map, "metadata.annotations" | "metadata.labels") {
            errors.push(path.invalid(format!("error converting fieldPath: field label not supported: {text}")));
        } else if let Err(why) = names::qualified_name(&key.to_lowercase()) {
            errors.push(path.invalid(why));
        }
        return;
    }
    if fields.contains(&text) {
        return;
    }
    errors.push(if FIELDS.contains(&text) || ELSEWHERE.contains(&text) {
        path.not_supported(fields)
    } else {
        path.invalid(format!("error converting fieldPath: field label not supported: {text}"))
    });
}

/// A reference to a container's resource.
pub(crate) fn resource_ref(at: &At<'_>, errors: &mut Errors) {
    let resource = at.get("resource");
    if check::required(&resource, errors) {
        let huge = ["limits.hugepages-", "requests.hugepages-"].iter().any(|p| resource.str().starts_with(p));
        if !huge {
            check::one_of(&resource, RESOURCES, errors);
        }
    }
}
