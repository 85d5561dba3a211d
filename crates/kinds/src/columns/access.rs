//! Reading objects for cells.

use jiff::Timestamp;
use serde_json::Value;

pub(super) const NONE: &str = "<none>";

/// Age of the object.
pub(super) fn age(object: &Value, now: Timestamp) -> Value {
    since(api::meta::text(object, "creationTimestamp"), now).into()
}

/// Time since a timestamp, as kubectl prints it.
pub(super) fn since(timestamp: &str, now: Timestamp) -> String {
    match api::time::parse(timestamp) {
        Some(then) => api::time::age(now.as_second() - then.as_second()),
        None => "<unknown>".into(),
    }
}

/// The string at a pointer, or `<none>`.
pub(super) fn or_none(object: &Value, pointer: &str) -> Value {
    or(object, pointer, NONE)
}

/// The string at a pointer, or something else.
pub(super) fn or(object: &Value, pointer: &str, other: &str) -> Value {
    let text = api::meta::at(object, pointer);
    if text.is_empty() { other.into() } else { text.into() }
}

/// The integer at a pointer, 0 when absent.
pub(super) fn int(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// The list at a pointer.
pub(super) fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// How many entries the map or list at a pointer has.
pub(super) fn count(object: &Value, pointer: &str) -> usize {
    match object.pointer(pointer) {
        Some(Value::Object(map)) => map.len(),
        Some(Value::Array(list)) => list.len(),
        _ => 0,
    }
}

/// Texts joined by commas, or `<none>`.
pub(super) fn joined<'a>(texts: impl Iterator<Item = &'a str>) -> Value {
    let text = texts.collect::<Vec<_>>().join(",");
    if text.is_empty() { NONE.into() } else { text.into() }
}

/// A map of labels as `a=b,c=d`.
pub(super) fn labels(map: Option<&Value>) -> Value {
    let terms: Vec<String> = map
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    joined(terms.iter().map(String::as_str))
}

/// A `metav1.LabelSelector` as text.
pub(super) fn selector(selector: Option<&Value>) -> Value {
    let Some(selector) = selector.filter(|s| !s.is_null()) else { return NONE.into() };
    let mut terms: Vec<String> = selector
        .get("matchLabels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    for e in list(selector, "/matchExpressions") {
        let values: Vec<&str> = list(e, "/values").filter_map(Value::as_str).collect();
        let key = api::meta::at(e, "/key");
        terms.push(match api::meta::at(e, "/operator") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    joined(terms.iter().map(String::as_str))
}

/// Names of a pod template's containers.
pub(super) fn container_names(object: &Value, spec: &str) -> Value {
    joined(list(object, &format!("{spec}/containers")).map(|c| api::meta::at(c, "/name")))
}

/// Images of a pod template's containers.
pub(super) fn container_images(object: &Value, spec: &str) -> Value {
    joined(list(object, &format!("{spec}/containers")).map(|c| api::meta::at(c, "/image")))
}
