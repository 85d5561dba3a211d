//! Merging an applied configuration into an object, and taking fields out of one.

use std::collections::HashMap;

use serde_json::Value;

use super::form::{Form, Keyed, Place, value_element};
use super::set::Set;

/// `applied` over `live`: maps by key, lists by their type, anything else replaced.
pub(super) fn merge(place: Place<'_>, live: Option<&Value>, applied: &Value) -> Value {
    let Some(live) =
        live.filter(|live| live.is_object() == applied.is_object() && live.is_array() == applied.is_array())
    else {
        return applied.clone();
    };
    match (place.form(applied), live, applied) {
        (Form::Struct(object), Value::Object(old), Value::Object(new)) => {
            merge_entries(old, new, |key| Place::of_key(object, key))
        }
        (Form::Map(values), Value::Object(old), Value::Object(new)) => merge_entries(old, new, |_| values),
        (Form::Set, Value::Array(old), Value::Array(new)) => {
            merge_items(old, new, value_element, |_, item| item.clone())
        }
        (Form::Keyed(keyed), Value::Array(old), Value::Array(new)) => {
            merge_items(old, new, |item| keyed.element(item), |old, item| merge(keyed.items, old, item))
        }
        _ => applied.clone(),
    }
}

type Entries = serde_json::Map<String, Value>;

fn merge_entries<'a>(old: &Entries, new: &Entries, place: impl Fn(&str) -> Place<'a>) -> Value {
    let mut out = old.clone();
    for (key, applied) in new {
        out.insert(key.clone(), merge(place(key), old.get(key), applied));
    }
    Value::Object(out)
}

/// Applied items in their order; items only in `old` stay where they were among them.
fn merge_items(
    old: &[Value],
    new: &[Value],
    identity: impl Fn(&Value) -> Box<str>,
    merged: impl Fn(Option<&Value>, &Value) -> Value,
) -> Value {
    let olds: Vec<Box<str>> = old.iter().map(&identity).collect();
    let news: Vec<Box<str>> = new.iter().map(&identity).collect();
    let before: HashMap<&str, &Value> = olds.iter().map(|id| &**id).zip(old).rev().collect();
    let position: HashMap<&str, usize> = news.iter().enumerate().rev().map(|(at, id)| (&**id, at)).collect();
    let mut out: Vec<Value> = Vec::with_capacity(old.len() + new.len());
    let mut rest = olds.iter().zip(old).peekable();
    for (at, (id, item)) in news.iter().zip(new).enumerate() {
        // An old item that is not applied comes first; one that was placed already is skipped; one that the
        // configuration has later waits for its turn.
        let later = |other: &str| position.get(other).copied();
        while let Some((other, value)) = rest.next_if(|(other, _)| *other != id && later(other).is_none_or(|p| p < at))
        {
            if later(other).is_none() {
                out.push(value.clone());
            }
        }
        rest.next_if(|(other, _)| *other == id);
        out.push(merged(before.get(&**id).copied(), item));
    }
    out.extend(rest.filter(|(other, _)| !position.contains_key(&***other)).map(|(_, value)| value.clone()));
    Value::Array(out)
}

/// Takes the members of `gone` out of a value.
pub(super) fn remove(place: Place<'_>, value: &mut Value, gone: &Set) {
    match (place.form(value), value) {
        (Form::Struct(object), Value::Object(entries)) => {
            remove_entries(entries, gone, |key| Place::of_key(object, key));
        }
        (Form::Map(values), Value::Object(entries)) => remove_entries(entries, gone, |_| values),
        (Form::Set, Value::Array(items)) => {
            items.retain(|item| gone.children.get(&value_element(item)).is_none_or(|set| !set.member));
        }
        (Form::Keyed(keyed), Value::Array(items)) => remove_items(keyed, items, gone),
        _ => {}
    }
}

fn remove_entries<'a>(entries: &mut Entries, gone: &Set, place: impl Fn(&str) -> Place<'a>) {
    for (element, set) in &gone.children {
        let Some(key) = element.strip_prefix("f:") else { continue };
        if set.member {
            entries.remove(key);
        } else if let Some(value) = entries.get_mut(key) {
            remove(place(key), value, set);
            if is_bare(value) {
                entries.remove(key);
            }
        }
    }
}

fn remove_items(keyed: Keyed<'_>, items: &mut Vec<Value>, gone: &Set) {
    items.retain_mut(|item| match gone.children.get(&keyed.element(item)) {
        None => true,
        Some(set) if set.member => false,
        Some(set) => {
            remove(keyed.items, item, set);
            true
        }
    });
}

/// Emptied by a removal.
fn is_bare(value: &Value) -> bool {
    match value {
        Value::Object(entries) => entries.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
