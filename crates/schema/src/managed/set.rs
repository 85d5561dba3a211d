//! Sets of fields, as `fieldsV1` writes them: `f:` a field, `k:` an item by its keys, `v:` an item by its value.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The fields at and below a place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Set {
    /// The place itself is in the set.
    pub(super) member: bool,
    /// No child is empty.
    pub(super) children: BTreeMap<Box<str>, Set>,
}

impl Set {
    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// Puts `set` at a child place; the element's text is only made if there is something to put.
    pub(super) fn attach(&mut self, element: impl FnOnce() -> Box<str>, set: Set) {
        if !set.is_empty() {
            self.children.entry(element()).or_default().union(set);
        }
    }

    pub(super) fn union(&mut self, other: Set) {
        if self.is_empty() {
            *self = other;
            return;
        }
        self.member |= other.member;
        for (element, set) in other.children {
            self.children.entry(element).or_default().union(set);
        }
    }

    pub(super) fn difference(&self, other: &Set) -> Set {
        if other.is_empty() {
            return self.clone();
        }
        let mut out = Set { member: self.member && !other.member, children: BTreeMap::new() };
        for (element, set) in &self.children {
            let rest = match other.children.get(element) {
                Some(gone) => set.difference(gone),
                None => set.clone(),
            };
            if !rest.is_empty() {
                out.children.insert(element.clone(), rest);
            }
        }
        out
    }

    pub(super) fn intersection(&self, other: &Set) -> Set {
        let mut out = Set { member: self.member && other.member, children: BTreeMap::new() };
        for (element, set) in &self.children {
            let Some(theirs) = other.children.get(element) else { continue };
            let both = set.intersection(theirs);
            if !both.is_empty() {
                out.children.insert(element.clone(), both);
            }
        }
        out
    }

    /// Drops a field and all below it.
    pub(super) fn drop_field(&mut self, path: &[&str]) {
        match path {
            [] => {}
            [last] => drop(self.children.remove(*last)),
            [first, rest @ ..] => {
                if let Some(child) = self.children.get_mut(*first) {
                    child.drop_field(rest);
                    if child.is_empty() {
                        self.children.remove(*first);
                    }
                }
            }
        }
    }

    pub(super) fn from_json(value: &Value) -> Option<Set> {
        let mut out = Set::default();
        for (element, below) in value.as_object()? {
            if element == "." {
                out.member = true;
                continue;
            }
            let mut set = Set::from_json(below)?;
            set.member |= set.children.is_empty();
            out.children.insert(element.as_str().into(), set);
        }
        Some(out)
    }

    pub(super) fn to_json(&self) -> Value {
        let mut out = Map::new();
        if self.member && !self.children.is_empty() {
            out.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (element, set) in &self.children {
            out.insert(element.to_string(), set.to_json());
        }
        Value::Object(out)
    }

    /// The paths of all members, `.spec.containers[name="a"].image`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.collect_paths("", &mut out);
        out
    }

    fn collect_paths(&self, path: &str, out: &mut Vec<String>) {
        if self.member {
            out.push(path.to_owned());
        }
        for (element, set) in &self.children {
            set.collect_paths(&format!("{path}{}", step(element)), out);
        }
    }
}

/// The element of a field.
pub(super) fn field(name: &str) -> Box<str> {
    ["f:", name].concat().into()
}

/// An element as a path shows it.
fn step(element: &str) -> String {
    match element.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("v", value)) => format!("[={value}]"),
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        Some((_, index)) => format!("[{index}]"),
        None => element.to_owned(),
    }
}
