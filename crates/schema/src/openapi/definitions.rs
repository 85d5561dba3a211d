//! Definitions of the types: what the types say of themselves plus the table of facts.

use std::collections::BTreeMap;

use api::GroupVersionKind;
use serde_json::{Map, Value, json};

use super::{Dialect, PathSpec, gvk_json};
use crate::builtin;
use crate::facts::{self, Fact, ListType, TypeFacts};

/// Types that every group refers to.
const COMMON: [&str; 5] = ["APIResourceList", "DeleteOptions", "ListMeta", "Patch", "Status"];

/// The name of the definition of a kind: upstream's for a built-in one, the reversed group for a custom one.
pub(super) fn name_of(gvk: &GroupVersionKind) -> String {
    builtin::type_name(gvk).unwrap_or_else(|| {
        let mut parts: Vec<&str> = gvk.gv.group.split('.').rev().collect();
        parts.extend([&*gvk.gv.version, &*gvk.kind]);
        parts.join(".")
    })
}

/// All definitions that these resources need.
pub(super) fn collect<'a>(
    dialect: Dialect,
    resources: impl Iterator<Item = &'a PathSpec> + Clone,
) -> Map<String, Value> {
    let common: Vec<GroupVersionKind> = COMMON.iter().map(|kind| GroupVersionKind::new("", "v1", kind)).collect();
    let kinds =
        resources.clone().flat_map(|spec| std::iter::once(&spec.gvk).chain(spec.subresources.iter().map(|s| &s.gvk)));
    let described = builtin::describe_kinds(kinds.clone().chain(&common));
    let mut out: BTreeMap<String, Value> = BTreeMap::new();
    for (name, description) in described {
        let definition = definition(dialect, &name, description);
        out.insert(name, definition);
    }
    for gvk in kinds {
        if let Some(definition) = out.get_mut(&name_of(gvk)) {
            insert(definition, "x-kubernetes-group-version-kind", json!([gvk_json(gvk)]));
        }
    }
    for gvk in &common {
        if let ("APIResourceList" | "DeleteOptions" | "Status", Some(found)) = (&*gvk.kind, out.get_mut(&name_of(gvk)))
        {
            insert(found, "x-kubernetes-group-version-kind", json!([gvk_json(gvk)]));
        }
    }
    for spec in resources {
        let name = name_of(&spec.gvk);
        if let Some(schema) = &spec.schema {
            out.insert(name.clone(), custom(dialect, &spec.gvk, schema));
        }
        if spec.verbs.iter().any(|verb| verb == "list") {
            out.insert(format!("{name}List"), list(dialect, &spec.gvk, &name));
        }
    }
    out.into_iter().collect()
}

fn insert(definition: &mut Value, key: &str, value: Value) {
    if let Some(definition) = definition.as_object_mut() {
        definition.insert(key.to_owned(), value);
    }
}

/// The definition of a named type.
fn definition(dialect: Dialect, name: &str, mut description: Value) -> Value {
    match name {
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => {
            insert(&mut description, "format", json!("int-or-string"));
            if dialect == Dialect::V2 {
                insert(&mut description, "type", json!("string"));
            } else {
                insert(&mut description, "oneOf", json!([{"type": "integer"}, {"type": "string"}]));
            }
            if let Some(description) = description.as_object_mut() {
                description.remove("x-kubernetes-int-or-string");
            }
            return description;
        }
        "io.k8s.apimachinery.pkg.api.resource.Quantity" => {
            let text = description.get("description").cloned().unwrap_or_default();
            if dialect == Dialect::V2 {
                return json!({"description": text, "type": "string"});
            }
            return json!({"description": text, "oneOf": [{"type": "string"}, {"type": "number"}]});
        }
        _ => {}
    }
    let facts = facts::of_type(name);
    if facts.and_then(|facts| facts.get("")).is_some_and(|own| own.atomic) {
        insert(&mut description, "x-kubernetes-map-type", json!("atomic"));
    }
    if let Some(facts) = facts {
        correct_required(&mut description, facts);
    }
    if let Some(properties) = description.get_mut("properties").and_then(Value::as_object_mut) {
        for (field, property) in properties {
            refer(dialect, property);
            if let Some(fact) = facts.and_then(|facts| facts.get(field.as_str())) {
                annotate(property, fact);
            }
        }
    }
    description
}

/// What is required, with the table's corrections.
fn correct_required(description: &mut Value, facts: &TypeFacts) {
    let required = description.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let says = |name: &str| facts.get(name).and_then(|fact| fact.required);
    let kept = required.into_iter().filter(|name| name.as_str().is_some_and(|name| says(name) != Some(false)));
    let added = facts.iter().filter(|(_, fact)| fact.required == Some(true)).map(|(name, _)| json!(**name));
    let all: Vec<Value> = kept.chain(added).collect();
    if !all.is_empty() {
        insert(description, "required", Value::Array(all));
    } else if let Some(description) = description.as_object_mut() {
        description.remove("required");
    }
}

/// Points references at the document's own place for definitions.
fn refer(dialect: Dialect, node: &mut Value) {
    let Some(entries) = node.as_object_mut() else { return };
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = entries.get_mut(inner) {
            refer(dialect, inner);
        }
    }
    let Some(Value::String(reference)) = entries.remove("$ref") else { return };
    let target = dialect.reference(reference.trim_start_matches("#/$defs/"));
    if dialect == Dialect::V3 && !entries.is_empty() {
        // In 3.0 what stands beside a reference is ignored.
        entries.insert("allOf".to_owned(), json!([target]));
    } else if let Value::Object(target) = target {
        entries.extend(target);
    }
}

fn annotate(property: &mut Value, fact: &Fact) {
    match &fact.list {
        Some(ListType::Atomic) => insert(property, "x-kubernetes-list-type", json!("atomic")),
        Some(ListType::Set) => insert(property, "x-kubernetes-list-type", json!("set")),
        Some(ListType::Map(keys)) => {
            insert(property, "x-kubernetes-list-type", json!("map"));
            insert(property, "x-kubernetes-list-map-keys", keys.iter().map(|key| json!(**key)).collect());
        }
        None => {}
    }
    if fact.atomic {
        insert(property, "x-kubernetes-map-type", json!("atomic"));
    }
    let Some(patch) = &fact.patch else { return };
    let strategy = match (patch.merge, patch.retain_keys) {
        (true, true) => "merge,retainKeys",
        (true, false) => "merge",
        (false, true) => "retainKeys",
        (false, false) => "replace",
    };
    if patch.merge || patch.retain_keys || patch.key.is_none() {
        insert(property, "x-kubernetes-patch-strategy", json!(strategy));
    }
    if let Some(key) = &patch.key {
        insert(property, "x-kubernetes-patch-merge-key", json!(**key));
    }
}

fn list(dialect: Dialect, gvk: &GroupVersionKind, name: &str) -> Value {
    let kind = &gvk.kind;
    let mut metadata = dialect.reference("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta");
    if dialect == Dialect::V3 {
        metadata = json!({ "allOf": [metadata] });
    }
    insert(&mut metadata, "description", json!("Standard list metadata."));
    json!({
        "description": format!("{kind}List is a list of {kind}"),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "items": {"type": "array", "description": "Items is the list of objects.", "items": dialect.reference(name)},
            "kind": {"type": "string"},
            "metadata": metadata,
        },
        "x-kubernetes-group-version-kind": [gvk_json(&gvk.gv.with_kind(&format!("{kind}List")))],
    })
}

/// The definition of a custom kind: its schema with the metadata that every object has.
fn custom(dialect: Dialect, gvk: &GroupVersionKind, schema: &Value) -> Value {
    let mut out = schema.clone();
    insert(&mut out, "type", json!("object"));
    insert(&mut out, "x-kubernetes-group-version-kind", json!([gvk_json(gvk)]));
    if out.get("properties").is_none() {
        insert(&mut out, "properties", json!({}));
    }
    if let Some(properties) = out.get_mut("properties") {
        insert(properties, "apiVersion", json!({"type": "string"}));
        insert(properties, "kind", json!({"type": "string"}));
        let mut metadata = dialect.reference("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        if dialect == Dialect::V3 {
            metadata = json!({ "allOf": [metadata] });
        }
        insert(properties, "metadata", metadata);
    }
    out
}
