//! Rules that `metadata` of every kind keeps.

use std::collections::HashSet;

use api::field::FieldError;
use api::names;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::kind::Kind;

/// Largest sum of annotation keys and values.
const MAX_ANNOTATIONS: usize = 256 << 10;

/// Fills what the server decides about a new object.
pub(crate) fn begin(object: &mut Value, kind: &Kind, now: Timestamp) {
    let uid = uuid::Uuid::new_v4().to_string();
    let metadata = api::meta::of_mut(object);
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion", "selfLink"] {
        metadata.remove(field);
    }
    metadata.insert("uid".into(), uid.into());
    metadata.insert("creationTimestamp".into(), api::time::seconds(now).into());
    if kind.rules.has_generation {
        metadata.insert("generation".into(), json!(1));
    } else {
        metadata.remove("generation");
    }
    drop_empty(metadata);
}

/// Removes fields that upstream omits when they are empty, so that equal objects have equal bytes.
pub(crate) fn drop_empty(metadata: &mut Map<String, Value>) {
    metadata.retain(|key, value| match value {
        Value::Null => false,
        Value::String(s) => !s.is_empty(),
        Value::Object(m) => !m.is_empty(),
        Value::Array(a) => !a.is_empty(),
        _ => key != "generation" || value.as_i64() != Some(0),
    });
}

/// Complaints about a new object's metadata.
pub(crate) fn validate(object: &Value, kind: &Kind) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = api::meta::name(object);
    if name.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    } else if let Err(why) = kind.rules.names.check(name) {
        errors.push(FieldError::invalid("metadata.name", &name.into(), why));
    }
    if kind.resource.namespaced() {
        let namespace = api::meta::namespace(object);
        if let Err(why) = names::dns_label(namespace) {
            errors.push(FieldError::invalid("metadata.namespace", &namespace.into(), why));
        }
    }
    let Some(metadata) = api::meta::of(object) else { return errors };
    validate_labels(metadata, &mut errors);
    validate_annotations(metadata, &mut errors);
    validate_finalizers(metadata, &mut errors);
    validate_owners(metadata, &mut errors);
    errors
}

fn validate_labels(metadata: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    for (key, value) in metadata.get("labels").and_then(Value::as_object).into_iter().flatten() {
        if let Err(why) = names::qualified_name(key) {
            errors.push(FieldError::invalid("metadata.labels", &key.as_str().into(), why));
        }
        let value = value.as_str().unwrap_or_default();
        if let Err(why) = names::label_value(value) {
            errors.push(FieldError::invalid("metadata.labels", &value.into(), why));
        }
    }
}

fn validate_annotations(metadata: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    let mut total = 0;
    for (key, value) in metadata.get("annotations").and_then(Value::as_object).into_iter().flatten() {
        if let Err(why) = names::qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid("metadata.annotations", &key.as_str().into(), why));
        }
        total += key.len() + value.as_str().map_or(0, str::len);
    }
    if total > MAX_ANNOTATIONS {
        errors.push(FieldError::too_long("metadata.annotations", MAX_ANNOTATIONS));
    }
}

fn validate_finalizers(metadata: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    for finalizer in metadata.get("finalizers").and_then(Value::as_array).into_iter().flatten() {
        let text = finalizer.as_str().unwrap_or_default();
        if let Err(why) = names::qualified_name(text) {
            errors.push(FieldError::invalid("metadata.finalizers", finalizer, why));
        } else if !text.contains('/') && !matches!(text, "kubernetes" | "orphan" | "foregroundDeletion") {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid("metadata.finalizers", finalizer, why));
        }
    }
}

fn validate_owners(metadata: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    let mut controllers = 0;
    let owners = metadata.get("ownerReferences").and_then(Value::as_array);
    for (i, owner) in owners.into_iter().flatten().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner.get(field).and_then(Value::as_str).unwrap_or_default().is_empty() {
                let path = format!("metadata.ownerReferences[{i}].{field}");
                errors.push(FieldError::invalid(path, &"".into(), format!("{field} must not be empty")));
            }
        }
        if owner.get("controller").and_then(Value::as_bool) == Some(true) {
            controllers += 1;
        }
    }
    if controllers > 1 {
        let why = "Only one reference can have Controller set to true";
        errors.push(FieldError::invalid("metadata.ownerReferences", &Value::Null, why));
    }
}

/// Complaints about a change of metadata.
pub(crate) fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in ["name", "namespace", "uid", "creationTimestamp"] {
        let (now, before) = (api::meta::text(new, field), api::meta::text(old, field));
        if now != before {
            let path = format!("metadata.{field}");
            errors.push(FieldError::invalid(path, &now.into(), "field is immutable"));
        }
    }
    if api::meta::is_deleting(old) {
        let before: HashSet<&str> = api::meta::finalizers(old).collect();
        let added: Vec<&str> = api::meta::finalizers(new).filter(|f| !before.contains(f)).collect();
        if !added.is_empty() {
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.iter().map(|f| format!("\"{f}\"")).collect::<Vec<_>>().join(", ")
            );
            errors.push(FieldError::forbidden("metadata.finalizers", why));
        }
    }
    errors
}

/// Carries over what an update may not touch, and fills what it left out.
pub(crate) fn carry_over(new: &mut Value, old: &Value) {
    let before = api::meta::of(old).cloned().unwrap_or_default();
    let metadata = api::meta::of_mut(new);
    for field in ["uid", "creationTimestamp", "name", "namespace"] {
        if metadata.get(field).is_none_or(|v| v.is_null() || v == "")
            && let Some(value) = before.get(field)
        {
            metadata.insert(field.into(), value.clone());
        }
    }
    for field in ["generation", "deletionTimestamp", "deletionGracePeriodSeconds", "generateName"] {
        match before.get(field) {
            Some(value) => metadata.insert(field.into(), value.clone()),
            None => metadata.remove(field),
        };
    }
    metadata.remove("selfLink");
    drop_empty(metadata);
}

/// Whether anything but metadata and status differs.
pub(crate) fn spec_changed(new: &Value, old: &Value) -> bool {
    let differs = |a: &Value, b: &Value| {
        a.as_object()
            .into_iter()
            .flatten()
            .any(|(key, value)| !matches!(key.as_str(), "metadata" | "status") && b.get(key) != Some(value))
    };
    differs(new, old) || differs(old, new)
}
