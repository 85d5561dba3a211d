//! How a value is owned and merged at its place.

use std::collections::HashMap;

use serde_json::Value;

use crate::facts::ListType;
use crate::node::{Field, Object, Schema, Shape};

/// A place in an object: its schema, and whether the field there is owned as a whole.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    schema: &'a Schema,
    atomic: bool,
}

/// The form of a value at a place.
pub(super) enum Form<'a> {
    /// One value, owned and replaced as a whole.
    Leaf,
    Struct(&'a Object),
    /// A map of any keys.
    Map(Place<'a>),
    /// A list of distinct values.
    Set,
    /// A list whose items have keys.
    Keyed(Keyed<'a>),
}

/// A list whose items are told apart by some of their fields.
#[derive(Clone, Copy)]
pub(super) struct Keyed<'a> {
    pub(super) items: Place<'a>,
    keys: &'a [Box<str>],
}

impl<'a> Place<'a> {
    pub(super) fn root(schema: &'a Schema) -> Self {
        Place { schema, atomic: false }
    }

    pub(super) fn of_field(field: &'a Field) -> Self {
        Place { schema: &field.schema, atomic: field.atomic }
    }

    /// The place of a key that may not be known.
    pub(super) fn of_key(object: &'a Object, key: &str) -> Self {
        object.field(key).map_or(Place::root(&Schema::ANY), Place::of_field)
    }

    /// The form that a value has here. What the schema leaves open is taken apart by keys, lists are one value.
    pub(super) fn form(self, value: &Value) -> Form<'a> {
        match (self.schema.resolve(), value) {
            _ if self.atomic => Form::Leaf,
            (Shape::Object(object), Value::Object(_)) if !object.atomic => Form::Struct(object),
            (Shape::Map(map), Value::Object(_)) if !map.atomic => Form::Map(Place::root(&map.values)),
            (Shape::Any, Value::Object(_)) => Form::Map(Place::root(&Schema::ANY)),
            (Shape::List(list), Value::Array(_)) => match &list.kind {
                ListType::Atomic => Form::Leaf,
                ListType::Set => Form::Set,
                ListType::Map(keys) => Form::Keyed(Keyed { items: Place::root(&list.items), keys }),
            },
            _ => Form::Leaf,
        }
    }
}

impl<'a> Keyed<'a> {
    /// The value of a key, or its default.
    fn key_of<'v>(&self, item: &'v Value, key: &str) -> Option<&'v Value>
    where
        'a: 'v,
    {
        if let Some(value) = item.get(key).filter(|value| !value.is_null()) {
            return Some(value);
        }
        let Shape::Object(object) = self.items.schema.resolve() else { return None };
        object.field(key)?.default.as_ref().map(|default| &default.value)
    }

    /// The items by their element; of several with the same keys, the first.
    pub(super) fn index<'v>(&self, items: &'v [Value]) -> HashMap<Box<str>, &'v Value> {
        let mut out = HashMap::with_capacity(items.len());
        for item in items {
            out.entry(self.element(item)).or_insert(item);
        }
        out
    }

    pub(super) fn same(&self, a: &Value, b: &Value) -> bool {
        self.keys.iter().all(|key| self.key_of(a, key) == self.key_of(b, key))
    }

    /// The element of an item, `k:{"name":"a"}`, keys in order.
    pub(super) fn element(&self, item: &Value) -> Box<str> {
        let mut keys: Vec<&str> = self.keys.iter().map(|key| &**key).collect();
        keys.sort_unstable();
        let parts: Vec<String> = keys
            .into_iter()
            .filter_map(|key| Some(format!("{}:{}", Value::from(key), self.key_of(item, key)?)))
            .collect();
        format!("k:{{{}}}", parts.join(",")).into()
    }
}

/// The element of an item of a set, `v:"a"`.
pub(super) fn value_element(item: &Value) -> Box<str> {
    format!("v:{item}").into()
}
