//! Strategic merge patch: a merge patch that knows lists with keys, and directives.

mod order;

use std::collections::HashSet;

use serde_json::{Map, Value};

use self::order::{Key, in_order};
use super::PatchError;
use crate::facts::PatchFact;
use crate::node::{Schema, Shape};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

type Entries = Map<String, Value>;

/// Merges `patch` into `target` as the schema says. On an error `target` may be partly changed: patch a copy.
pub fn strategic_merge(schema: &Schema, target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let Value::Object(changes) = patch else {
        return Err(PatchError::Malformed("Invalid JSON document".into()));
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    match target {
        Value::Object(entries) => merge_map(Some(schema), entries, changes),
        _ => Ok(()),
    }
}

fn merge_map(schema: Option<&Schema>, target: &mut Entries, patch: &Entries) -> Result<(), PatchError> {
    match patch.get(DIRECTIVE).map(|directive| directive.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("delete") => {
            target.clear();
            return Ok(());
        }
        Some("replace") => {
            target.clear();
            target.extend(patch.iter().filter(|(key, _)| *key != DIRECTIVE).map(|(k, v)| (k.clone(), v.clone())));
            return Ok(());
        }
        Some(other) => return Err(malformed(format!("unknown patch type: {other} in map: {}", go_map(patch)))),
    }
    retain_keys(target, patch)?;
    for (key, list) in patch {
        if let Some(field) = key.strip_prefix(DELETE_PRIMITIVES) {
            delete_primitives(target, field, list)?;
        }
    }
    for (key, change) in patch.iter().filter(|(key, _)| !is_directive(key)) {
        if change.is_null() {
            target.remove(key);
        } else {
            merge_field(schema, key, target, change)?;
        }
    }
    for (key, order) in patch {
        if let Some(field) = key.strip_prefix(SET_ORDER) {
            set_order(schema, target, field, order)?;
        }
    }
    Ok(())
}

fn is_directive(key: &str) -> bool {
    key == DIRECTIVE || key == RETAIN_KEYS || key.starts_with(SET_ORDER) || key.starts_with(DELETE_PRIMITIVES)
}

/// `$retainKeys`: everything else in the map goes.
fn retain_keys(target: &mut Entries, patch: &Entries) -> Result<(), PatchError> {
    let Some(keep) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let bad = || malformed("invalid patch format of retainKeys".to_owned());
    let keep = keep.as_array().ok_or_else(bad)?;
    let kept = |key: &str| keep.iter().any(|name| name.as_str() == Some(key));
    if patch.iter().any(|(key, value)| !is_directive(key) && !value.is_null() && !kept(key)) {
        return Err(bad());
    }
    target.retain(|key, _| kept(key));
    Ok(())
}

fn delete_primitives(target: &mut Entries, field: &str, gone: &Value) -> Result<(), PatchError> {
    let gone = gone.as_array().ok_or_else(|| malformed("invalid patch format of primitive list".to_owned()))?;
    if let Some(Value::Array(items)) = target.get_mut(field) {
        items.retain(|item| !gone.contains(item));
    }
    Ok(())
}

fn merge_field(schema: Option<&Schema>, key: &str, target: &mut Entries, change: &Value) -> Result<(), PatchError> {
    let child = schema.and_then(|schema| schema.child(key));
    let fact = schema.and_then(|schema| patch_fact(schema, key));
    let replaces = fact.is_some_and(|fact| !fact.merge && !fact.retain_keys && fact.key.is_none());
    match (target.get_mut(key), change) {
        (Some(Value::Object(entries)), Value::Object(changes)) if !replaces => merge_map(child, entries, changes),
        (Some(Value::Array(items)), Value::Array(changes)) if fact.is_some_and(|fact| fact.merge) => {
            let item = child.and_then(item_schema);
            merge_list(item, fact.and_then(|fact| fact.key.as_deref()), items, changes)
        }
        _ => {
            target.insert(key.to_owned(), plain(change));
            Ok(())
        }
    }
}

fn patch_fact<'a>(schema: &'a Schema, key: &str) -> Option<&'a PatchFact> {
    match schema.resolve() {
        Shape::Object(object) => object.field(key)?.patch.as_ref(),
        _ => None,
    }
}

fn item_schema(schema: &Schema) -> Option<&Schema> {
    match schema.resolve() {
        Shape::List(list) => Some(&list.items),
        _ => None,
    }
}

/// A patch value taken over as it is: without directives, nulls, and items that are to be deleted.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(entries) => Value::Object(
            entries
                .iter()
                .filter(|(key, value)| !is_directive(key) && !value.is_null())
                .map(|(key, value)| (key.clone(), plain(value)))
                .collect(),
        ),
        Value::Array(items) => {
            let kept = items.iter().filter(|item| {
                let directive = item.get(DIRECTIVE).and_then(Value::as_str);
                directive.is_none_or(|directive| directive == "merge" || has_more(item, directive))
            });
            Value::Array(kept.map(plain).collect())
        }
        scalar => scalar.clone(),
    }
}

/// A `replace` marker that stands alone is no item.
fn has_more(item: &Value, directive: &str) -> bool {
    directive == "replace" && item.as_object().is_some_and(|entries| entries.len() > 1)
}

fn merge_list(
    schema: Option<&Schema>,
    merge_key: Option<&str>,
    items: &mut Vec<Value>,
    changes: &[Value],
) -> Result<(), PatchError> {
    if items.is_empty() && changes.is_empty() {
        return Ok(());
    }
    if !items.iter().chain(changes).all(Value::is_object) {
        merge_scalars(items, changes);
        return Ok(());
    }
    let Some(merge_key) = merge_key else {
        return Err(malformed("cannot merge lists without merge key".to_owned()));
    };
    let key = Key(Some(merge_key));
    if changes.iter().any(|change| change.get(DIRECTIVE).and_then(Value::as_str) == Some("replace")) {
        *items = changes.iter().filter(|change| change.get(DIRECTIVE).is_none()).map(plain).collect();
        return Ok(());
    }
    let (merges, deletions) = split(changes, merge_key)?;
    if !deletions.is_empty() {
        items.retain(|item| item.get(merge_key).is_none_or(|key| !deletions.contains(key)));
    }
    let before = items.clone();
    let known = key.positions(&before);
    for change in &merges {
        key_value(change, merge_key)?;
        let found = key.position(&known, change).and_then(|at| items.get_mut(at));
        match (found, change) {
            (Some(Value::Object(entries)), Value::Object(changes)) => merge_map(schema, entries, changes)?,
            _ => items.push(plain(change)),
        }
    }
    *items = in_order(std::mem::take(items), &merges, &before, key);
    Ok(())
}

/// A list of scalars merges as a set.
fn merge_scalars(items: &mut Vec<Value>, changes: &[Value]) {
    let before = items.clone();
    let mut seen: HashSet<Value> = before.iter().cloned().collect();
    items.extend(changes.iter().filter(|change| seen.insert((*change).clone())).cloned());
    *items = in_order(std::mem::take(items), changes, &before, Key(None));
}

/// What a patch of a list merges, and the keys of what it deletes.
fn split<'a>(changes: &'a [Value], merge_key: &str) -> Result<(Vec<Value>, HashSet<&'a Value>), PatchError> {
    let mut merges = Vec::with_capacity(changes.len());
    let mut deletions = HashSet::new();
    for change in changes {
        match change.get(DIRECTIVE).map(|directive| directive.as_str().unwrap_or_default()) {
            None | Some("merge") => merges.push(change.clone()),
            Some("delete") => {
                let no_key = |_| malformed("delete patch type with no merge key defined".to_owned());
                deletions.insert(key_value(change, merge_key).map_err(no_key)?);
            }
            Some(other) => return Err(malformed(format!("unknown patch type: {other} in map: {}", go(change)))),
        }
    }
    Ok((merges, deletions))
}

fn key_value<'a>(item: &'a Value, merge_key: &str) -> Result<&'a Value, PatchError> {
    item.get(merge_key)
        .ok_or_else(|| malformed(format!("map: {} does not contain declared merge key: {merge_key}", go(item))))
}

/// `$setElementOrder/x`: items named there come in that order, the others stay near their neighbours.
fn set_order(schema: Option<&Schema>, target: &mut Entries, field: &str, order: &Value) -> Result<(), PatchError> {
    let order = order.as_array().ok_or_else(|| malformed("invalid patch format of setElementOrder list".to_owned()))?;
    let fact = schema.and_then(|schema| patch_fact(schema, field));
    if let Some(Value::Array(items)) = target.get_mut(field) {
        let key = Key(fact.and_then(|fact| fact.key.as_deref()).filter(|_| items.iter().all(Value::is_object)));
        let before = items.clone();
        *items = in_order(std::mem::take(items), order, &before, key);
    }
    Ok(())
}

fn malformed(message: String) -> PatchError {
    PatchError::Malformed(message)
}

fn go_map(entries: &Entries) -> String {
    let parts: Vec<String> = entries.iter().map(|(key, value)| format!("{key}:{}", go(value))).collect();
    format!("map[{}]", parts.join(" "))
}

/// A value as Go's `%v` prints it.
fn go(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go).collect::<Vec<_>>().join(" ")),
        Value::Object(entries) => go_map(entries),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
