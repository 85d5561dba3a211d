//! What was added, removed and modified between two objects.

use std::sync::LazyLock;

use serde_json::Value;

use super::form::{Form, Keyed, Place, value_element};
use super::set::{Set, field};
use super::{NOTHING, ownership};
use crate::node::Object;

type Entries = serde_json::Map<String, Value>;

static NO_ITEMS: LazyLock<Value> = LazyLock::new(|| Value::Array(Vec::new()));

/// The difference between two values.
#[derive(Debug, Default)]
pub(super) struct Delta {
    pub(super) added: Set,
    pub(super) removed: Set,
    pub(super) modified: Set,
}

impl Delta {
    fn leaf(old: Option<&Value>, new: Option<&Value>) -> Delta {
        let mut delta = Delta::default();
        delta.added.member = old.is_none() && new.is_some();
        delta.removed.member = old.is_some() && new.is_none();
        delta.modified.member = matches!((old, new), (Some(old), Some(new)) if old != new);
        delta
    }

    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.modified.is_empty()
    }

    fn attach(&mut self, element: impl FnOnce() -> Box<str>, below: Delta) {
        if below.is_empty() {
            return;
        }
        let element = element();
        self.added.attach(|| element.clone(), below.added);
        self.removed.attach(|| element.clone(), below.removed);
        self.modified.attach(|| element, below.modified);
    }

    /// Leaves out what a write through this subresource cannot change.
    pub(super) fn reset(&mut self, subresource: &str) {
        for set in [&mut self.added, &mut self.removed, &mut self.modified] {
            *set = ownership::reset(std::mem::take(set), subresource);
        }
    }
}

/// Compares two values at a place; none is a value that is not there.
pub(super) fn compare(place: Place<'_>, old: Option<&Value>, new: Option<&Value>) -> Delta {
    let Some(some) = new.or(old) else { return Delta::default() };
    let comparable = match (old, new) {
        (Some(old), Some(new)) => old.is_object() == new.is_object() && old.is_array() == new.is_array(),
        _ => true,
    };
    if !comparable || (is_nothing(old) && is_nothing(new)) {
        return Delta::leaf(old, new);
    }
    let mut delta = match place.form(some) {
        Form::Leaf => return Delta::leaf(old, new),
        Form::Struct(object) => compare_struct(object, entries(old), entries(new)),
        Form::Map(values) => compare_map(values, entries(old), entries(new)),
        Form::Set => compare_set(items(old), items(new)),
        Form::Keyed(keyed) => compare_keyed(keyed, items(old), items(new)),
    };
    delta.added.member |= old.is_none();
    delta.removed.member |= new.is_none();
    delta
}

/// Absent, or without content; telling those apart is a change of the place itself.
fn is_nothing(value: Option<&Value>) -> bool {
    match value {
        None => true,
        Some(Value::Object(entries)) => entries.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    }
}

fn empty_like(value: &Value) -> Option<&'static Value> {
    match value {
        Value::Object(_) => Some(&*NOTHING),
        Value::Array(_) => Some(&*NO_ITEMS),
        _ => None,
    }
}

fn entries(value: Option<&Value>) -> Option<&Entries> {
    value.and_then(Value::as_object)
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn compare_struct(object: &Object, old: Option<&Entries>, new: Option<&Entries>) -> Delta {
    let mut delta = Delta::default();
    let mut one = |key: &str, before: Option<&Value>, after: Option<&Value>| {
        let known = object.field(key);
        let place = known.map_or_else(|| Place::of_key(object, key), Place::of_field);
        // What Go holds by value is there, empty, whenever the struct around it is.
        let there = |have: Option<&Entries>, other: Option<&Value>| {
            have.filter(|_| known.is_some_and(|field| field.by_value)).and(other).and_then(empty_like)
        };
        let (before, after) = (before.or_else(|| there(old, after)), after.or_else(|| there(new, before)));
        delta.attach(|| field(key), compare(place, before, after));
    };
    for (key, after) in new.into_iter().flatten() {
        one(key, old.and_then(|old| old.get(key)), Some(after));
    }
    for (key, before) in old.into_iter().flatten() {
        if new.is_none_or(|new| !new.contains_key(key)) {
            one(key, Some(before), None);
        }
    }
    delta
}

fn compare_map(values: Place<'_>, old: Option<&Entries>, new: Option<&Entries>) -> Delta {
    let mut delta = Delta::default();
    for (key, after) in new.into_iter().flatten() {
        delta.attach(|| field(key), compare(values, old.and_then(|old| old.get(key)), Some(after)));
    }
    for (key, before) in old.into_iter().flatten() {
        if new.is_none_or(|new| !new.contains_key(key)) {
            delta.attach(|| field(key), compare(values, Some(before), None));
        }
    }
    delta
}

fn compare_set(old: &[Value], new: &[Value]) -> Delta {
    let mut delta = Delta::default();
    for item in new.iter().filter(|item| !old.contains(item)) {
        delta.attach(|| value_element(item), Delta::leaf(None, Some(item)));
    }
    for item in old.iter().filter(|item| !new.contains(item)) {
        delta.attach(|| value_element(item), Delta::leaf(Some(item), None));
    }
    delta
}

fn compare_keyed(keyed: Keyed<'_>, old: &[Value], new: &[Value]) -> Delta {
    let mut delta = Delta::default();
    // Lists mostly keep their order: the index by key is only made when one did not.
    let (mut olds, mut news) = (None, None);
    for (at, after) in new.iter().enumerate() {
        let same_place = old.get(at).filter(|before| keyed.same(before, after));
        let before =
            same_place.or_else(|| olds.get_or_insert_with(|| keyed.index(old)).get(&keyed.element(after)).copied());
        delta.attach(|| keyed.element(after), compare(keyed.items, before, Some(after)));
    }
    for (at, before) in old.iter().enumerate() {
        let kept = new.get(at).is_some_and(|after| keyed.same(before, after));
        if !kept && !news.get_or_insert_with(|| keyed.index(new)).contains_key(&keyed.element(before)) {
            delta.attach(|| keyed.element(before), compare(keyed.items, Some(before), None));
        }
    }
    delta
}
