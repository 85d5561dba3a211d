//! Static defaults.

use serde_json::Value;

use crate::facts::{DefaultFact, When};
use crate::node::{Object, Schema, Shape};

impl Schema {
    /// Fills in the static defaults, below structs that are there.
    pub fn apply_defaults(&self, value: &mut Value) {
        match (self.resolve(), value) {
            (Shape::Object(object), Value::Object(entries)) => object.apply_defaults(entries),
            (Shape::Map(map), Value::Object(entries)) => {
                entries.values_mut().filter(|v| is_tree(v)).for_each(|v| map.values.apply_defaults(v));
            }
            (Shape::List(list), Value::Array(items)) => {
                items.iter_mut().filter(|v| is_tree(v)).for_each(|v| list.items.apply_defaults(v));
            }
            _ => {}
        }
    }
}

type Entries = serde_json::Map<String, Value>;

impl Object {
    fn apply_defaults(&self, entries: &mut Entries) {
        for at in &self.defaults {
            let Some(field) = self.fields.get(usize::from(*at)) else { continue };
            if let Some(default) = &field.default {
                apply_one(entries, &field.name, default);
            }
        }
        for (path, default) in &self.deep_defaults {
            apply_deep(entries, path, default);
        }
        for (key, value) in entries.iter_mut().filter(|(_, value)| is_tree(value)) {
            if let Some(field) = self.field(key) {
                field.schema.apply_defaults(value);
            }
        }
    }
}

fn apply_deep(entries: &mut Entries, path: &[Box<str>], default: &DefaultFact) {
    match path {
        [] => {}
        [last] => apply_one(entries, last, default),
        [first, rest @ ..] => {
            if let Some(Value::Object(inner)) = entries.get_mut(&**first) {
                apply_deep(inner, rest, default);
            }
        }
    }
}

fn apply_one(entries: &mut Entries, name: &str, default: &DefaultFact) {
    let missing = match entries.get(name) {
        None | Some(Value::Null) => true,
        Some(value) => default.fill && is_zero(value),
    };
    if missing && default.when.as_ref().is_none_or(|when| holds(when, entries)) {
        entries.insert(name.to_owned(), default.value.clone());
    }
}

fn holds(when: &When, entries: &Entries) -> bool {
    match when {
        When::Absent(field) => entries.get(&**field).is_none_or(Value::is_null),
        When::OneOf(field, values) => {
            entries.get(&**field).and_then(Value::as_str).is_some_and(|have| values.iter().any(|v| **v == *have))
        }
    }
}

fn is_tree(value: &Value) -> bool {
    value.is_object() || value.is_array()
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_i64() == Some(0),
        Value::String(s) => s.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
    }
}

#[cfg(test)]
mod tests;
