//! Reading and writing `metadata` of an object held as a JSON tree.

use serde_json::{Map, Value};

/// The `metadata` of an object; none when it has none or it is not an object.
pub fn of(object: &Value) -> Option<&Map<String, Value>> {
    object.get("metadata").and_then(Value::as_object)
}

/// The `metadata` of an object, made if it is not there. A tree that is no object gets replaced by one.
pub fn of_mut(object: &mut Value) -> &mut Map<String, Value> {
    child_mut(map_mut(object), "metadata")
}

/// A value as an object, replaced by an empty one if it is something else.
pub fn map_mut(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("made an object just above"),
    }
}

/// The object under `key`, made if it is not there.
pub fn child_mut<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    map_mut(map.entry(key).or_insert_with(|| Value::Object(Map::new())))
}

/// A string field of `metadata`, empty when absent.
pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    of(object).and_then(|m| m.get(field)).and_then(Value::as_str).unwrap_or_default()
}

/// `metadata.name`
pub fn name(object: &Value) -> &str {
    text(object, "name")
}

/// `metadata.namespace`
pub fn namespace(object: &Value) -> &str {
    text(object, "namespace")
}

/// `metadata.uid`
pub fn uid(object: &Value) -> &str {
    text(object, "uid")
}

/// Sets a string field of `metadata`.
pub fn set(object: &mut Value, field: &str, value: impl Into<Value>) {
    of_mut(object).insert(field.to_owned(), value.into());
}

/// A label's value.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    of(object)?.get("labels")?.get(key)?.as_str()
}

/// An annotation's value.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    of(object)?.get("annotations")?.get(key)?.as_str()
}

/// `metadata.finalizers`
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    of(object)
        .and_then(|m| m.get("finalizers"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// Whether deletion was asked for.
pub fn is_deleting(object: &Value) -> bool {
    of(object).is_some_and(|m| m.get("deletionTimestamp").is_some_and(|t| !t.is_null()))
}

/// `metadata.generation`, 0 when absent.
pub fn generation(object: &Value) -> i64 {
    of(object).and_then(|m| m.get("generation")).and_then(Value::as_i64).unwrap_or_default()
}

/// The string at a JSON pointer, empty when absent.
pub fn at<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Sets a field of an object.
pub fn put(object: &mut Value, field: &str, value: impl Into<Value>) {
    map_mut(object).insert(field.to_owned(), value.into());
}
