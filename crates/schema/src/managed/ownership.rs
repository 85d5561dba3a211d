//! What an applied configuration owns, and what leaves an object when it no longer says so.

use serde_json::Value;

use super::form::{Form, Place, value_element};
use super::managers::Managers;
use super::merge::remove;
use super::set::{Set, field};

/// The fields that a configuration sets.
pub(super) fn set_of(place: Place<'_>, value: &Value) -> Set {
    let mut out = Set::default();
    match (place.form(value), value) {
        (Form::Struct(object), Value::Object(entries)) => {
            for (key, value) in entries {
                let mut below = set_of(Place::of_key(object, key), value);
                below.member |= is_hollow(value) || object.field(key).is_none();
                out.attach(|| field(key), below);
            }
        }
        (Form::Map(values), Value::Object(entries)) => {
            for (key, value) in entries {
                let mut below = set_of(values, value);
                below.member = true;
                out.attach(|| field(key), below);
            }
        }
        (Form::Set, Value::Array(items)) => {
            for item in items {
                out.attach(|| value_element(item), Set { member: true, ..Set::default() });
            }
        }
        (Form::Keyed(keyed), Value::Array(items)) => {
            for item in items {
                let mut below = set_of(keyed.items, item);
                below.member = true;
                out.attach(|| keyed.element(item), below);
            }
        }
        _ => out.member = true,
    }
    out
}

fn is_hollow(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty)
}

/// With the named fields on the way to every member as members too.
fn with_named(place: Place<'_>, value: &Value, set: &Set) -> Set {
    let mut out = Set { member: set.member, ..Set::default() };
    for (element, below) in &set.children {
        let (child, named, inner) = descend(place, value, element);
        let mut below = match (child, inner) {
            (Some(child), Some(inner)) => with_named(child, inner, below),
            _ => below.clone(),
        };
        below.member |= named;
        out.children.insert(element.clone(), below);
    }
    out
}

/// The place and value at an element, and whether it is a named field of a struct.
fn descend<'a, 'v>(place: Place<'a>, value: &'v Value, element: &str) -> (Option<Place<'a>>, bool, Option<&'v Value>) {
    match (place.form(value), element.strip_prefix("f:")) {
        (Form::Struct(object), Some(key)) => {
            (Some(Place::of_key(object, key)), object.field(key).is_some(), value.get(key))
        }
        (Form::Map(values), Some(key)) => (Some(values), false, value.get(key)),
        (Form::Keyed(keyed), None) => {
            let item = value.as_array().and_then(|items| items.iter().find(|item| *keyed.element(item) == *element));
            (Some(keyed.items), false, item)
        }
        _ => (None, false, None),
    }
}

/// Takes out of `merged` what this applier owned before and no longer claims, unless somebody else owns it.
pub(super) fn prune(root: Place<'_>, merged: Value, managers: &Managers, claimed: &Set, last: &Set) -> Value {
    let named = |set: &Set| with_named(root, &merged, set);
    let last = named(last);
    let before = named(&set_of(root, &merged));
    let without = |gone: &Set| {
        let mut pruned = merged.clone();
        remove(root, &mut pruned, gone);
        pruned
    };
    let mut managed = claimed.clone();
    managers.iter().for_each(|manager| managed.union(manager.set.clone()));
    // First everything that was owned goes, then what others (or this configuration) own comes back, and then what
    // nobody owned but hung below something removed.
    let pruned = without(&last);
    let pruned = without(&before.difference(&named(&set_of(root, &pruned))).difference(&named(&managed)));
    without(&before.difference(&named(&set_of(root, &pruned))).intersection(&last))
}

/// Leaves out what says which object this is, rather than what it should be.
pub(super) fn without_identity(mut set: Set) -> Set {
    const OWN: [&str; 8] = [
        "f:name",
        "f:namespace",
        "f:creationTimestamp",
        "f:selfLink",
        "f:uid",
        "f:generation",
        "f:managedFields",
        "f:resourceVersion",
    ];
    set.drop_field(&["f:apiVersion"]);
    set.drop_field(&["f:kind"]);
    if let Some(metadata) = set.children.get_mut("f:metadata") {
        metadata.member = false;
        OWN.iter().for_each(|own| metadata.drop_field(&[own]));
        if metadata.is_empty() {
            set.drop_field(&["f:metadata"]);
        }
    }
    set
}

/// Leaves out what a write through this subresource cannot change: status through the resource itself, all but
/// status through `status`.
pub(super) fn reset(mut set: Set, subresource: &str) -> Set {
    match subresource {
        "" => set.drop_field(&["f:status"]),
        "status" => {
            set.drop_field(&["f:spec"]);
            for own in ["f:labels", "f:ownerReferences", "f:deletionTimestamp"] {
                set.drop_field(&["f:metadata", own]);
            }
        }
        _ => {}
    }
    set
}
