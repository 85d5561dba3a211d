//! From a type's JSON schema and the table of facts to a schema node.

use std::sync::OnceLock;

use serde_json::Value;

use crate::facts::{self, Fact, ListType, TypeFacts};
use crate::node::{DeepDefault, Field, List, Map, Object, Ref, Scalar, Schema, Shape};

/// The schema of a named type.
pub(super) fn named_type(name: &str, description: &Value) -> Schema {
    let none = TypeFacts::new();
    let facts = facts::of_type(name).unwrap_or(&none);
    let own = facts.get("");
    if own.is_some_and(|fact| fact.any) {
        return Schema::ANY;
    }
    if let Some(scalar) = well_known(name) {
        return Schema { shape: Shape::Scalar(scalar) };
    }
    if description.get("type").and_then(Value::as_str) != Some("object") {
        return node(description, None);
    }
    Schema { shape: Shape::Object(object(name, description, facts, own)) }
}

fn well_known(name: &str) -> Option<Scalar> {
    Some(match name.strip_prefix("io.k8s.apimachinery.pkg.")? {
        "api.resource.Quantity" => Scalar::Quantity,
        "util.intstr.IntOrString" => Scalar::IntOrString,
        "apis.meta.v1.Time" | "apis.meta.v1.MicroTime" => Scalar::Time,
        _ => return None,
    })
}

fn object(name: &str, description: &Value, facts: &TypeFacts, own: Option<&Fact>) -> Object {
    let mut fields: Vec<Field> = Vec::new();
    let required: Vec<&str> =
        description.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    for (field, description) in description.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let fact = facts.get(field.as_str());
        fields.push(Field {
            name: field.as_str().into(),
            schema: node(description, fact),
            atomic: fact.is_some_and(|fact| fact.atomic),
            // Go writes required fields even when they are empty.
            by_value: fact.is_some_and(|fact| fact.value)
                || fact.and_then(|fact| fact.required).unwrap_or_else(|| required.contains(&field.as_str())),
            patch: fact.and_then(|fact| fact.patch.clone()),
            default: fact.and_then(|fact| fact.default.clone()),
        });
    }
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    Object {
        name: name.into(),
        defaults: default_order(&fields),
        fields: fields.into(),
        atomic: own.is_some_and(|fact| fact.atomic),
        deep_defaults: deep_defaults(facts),
    }
}

/// Fields with defaults; conditional ones after those they look at.
pub(crate) fn default_order(fields: &[Field]) -> Box<[u16]> {
    let of = |conditional: bool| {
        fields.iter().zip(0u16..).filter(move |(field, _)| {
            field.default.as_ref().is_some_and(|default| default.when.is_some() == conditional)
        })
    };
    of(false).chain(of(true)).map(|(_, at)| at).collect()
}

fn deep_defaults(facts: &TypeFacts) -> Box<[DeepDefault]> {
    let deep = facts.iter().filter(|(path, _)| path.contains('.'));
    deep.filter_map(|(path, fact)| Some((path.split('.').map(Into::into).collect(), fact.default.clone()?))).collect()
}

/// The schema at a place: a field, a list item or a map value.
fn node(description: &Value, fact: Option<&Fact>) -> Schema {
    let text = |key: &str| description.get(key).and_then(Value::as_str);
    if let Some(reference) = text("$ref") {
        let name = reference.trim_start_matches("#/$defs/").into();
        return Schema { shape: Shape::Ref(Ref { name, target: OnceLock::new() }) };
    }
    let shape = match (text("type"), text("format")) {
        (Some("string"), Some("byte")) => Shape::Scalar(Scalar::Bytes),
        (Some("string"), _) => Shape::Scalar(Scalar::String),
        (Some("boolean"), _) => Shape::Scalar(Scalar::Bool),
        (Some("integer"), Some("int64")) => Shape::Scalar(Scalar::Int64),
        (Some("integer"), _) => Shape::Scalar(Scalar::Int32),
        (Some("number"), _) => Shape::Scalar(Scalar::Double),
        (Some("array"), _) => Shape::List(List {
            items: Box::new(description.get("items").map_or(Schema::ANY, |items| node(items, None))),
            kind: fact.and_then(|fact| fact.list.clone()).unwrap_or(ListType::Atomic),
        }),
        (Some("object"), _) => match description.get("additionalProperties") {
            Some(values) => {
                Shape::Map(Map { values: Box::new(node(values, None)), atomic: fact.is_some_and(|fact| fact.atomic) })
            }
            None => Shape::Any,
        },
        _ => Shape::Any,
    };
    Schema { shape }
}
