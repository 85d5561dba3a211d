//! The table of facts: what the generated types do not say about a field. One text file per API group, one row per
//! field, read when a type of that group is first needed.
//!
//! ```text
//! package io.k8s.api.core.v1
//! Container.ports list=map:containerPort,protocol patch=merge:containerPort
//! ```
//!
//! | word | meaning |
//! |---|---|
//! | `any` | the type is opaque: whatever is in it is kept |
//! | `atomic` | the struct or map is owned and merged as one value |
//! | `value` | upstream's struct holds the field by value, so it exists even when empty |
//! | `required`, `optional` | whether upstream's OpenAPI requires the field, where the types say otherwise |
//! | `list=atomic\|set\|map:key,…` | list type of server-side apply |
//! | `patch=STRATEGY[+retainKeys][:KEY]` | strategic merge |
//! | `default=JSON` | filled in when absent; an object here creates the parent, and defaults below it follow |
//! | `fill=JSON` | the same, also when it holds its zero value (upstream's field is no pointer) |
//! | `when=FIELD:A\|B`, `when=!FIELD` | the default only applies if that sibling has one of the values, or is absent |
//!
//! A row with a longer path (`Job.spec.suspend`) is a default of that kind alone, below parents that exist.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value;

/// How a list is merged and owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListType {
    Atomic,
    Set,
    Map(Box<[Box<str>]>),
}

/// The strategic merge directive of a field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PatchFact {
    pub(crate) merge: bool,
    pub(crate) retain_keys: bool,
    pub(crate) key: Option<Box<str>>,
}

/// A static default.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DefaultFact {
    pub(crate) value: Value,
    /// Also replaces the zero value.
    pub(crate) fill: bool,
    pub(crate) when: Option<When>,
}

/// What a sibling must be for a default to apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum When {
    Absent(Box<str>),
    OneOf(Box<str>, Box<[Box<str>]>),
}

/// One row.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Fact {
    pub(crate) any: bool,
    pub(crate) atomic: bool,
    pub(crate) value: bool,
    /// Whether the field is required, where the types say otherwise.
    pub(crate) required: Option<bool>,
    pub(crate) list: Option<ListType>,
    pub(crate) patch: Option<PatchFact>,
    pub(crate) default: Option<DefaultFact>,
}

/// The rows of a type: its own (under the empty path) and those of its fields.
pub(crate) type TypeFacts = BTreeMap<Box<str>, Fact>;

/// The facts of a group's types by full type name.
pub(crate) type GroupFacts = BTreeMap<String, TypeFacts>;

macro_rules! groups {
    ($($name:literal),* $(,)?) => {
        /// Every file of the table: its group and its text.
        pub(crate) const FILES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../facts/", $name, ".txt")))),*];
    };
}

groups![
    "admissionregistration",
    "apiextensions",
    "apiregistration",
    "apiserverinternal",
    "apps",
    "authentication",
    "authorization",
    "autoscaling",
    "batch",
    "certificates",
    "coordination",
    "core",
    "discovery",
    "events",
    "flowcontrol",
    "meta",
    "networking",
    "node",
    "policy",
    "rbac",
    "resource",
    "scheduling",
    "storage",
    "storagemigration",
];

/// The facts of a type by its full name (`io.k8s.api.core.v1.Pod`), if the table has any.
pub(crate) fn of_type(full_name: &str) -> Option<&'static TypeFacts> {
    static PARSED: [OnceLock<GroupFacts>; FILES.len()] = [const { OnceLock::new() }; FILES.len()];
    let group = group_of(full_name);
    let at = FILES.iter().position(|(name, _)| *name == group)?;
    let (_, text) = FILES.get(at)?;
    PARSED.get(at)?.get_or_init(|| parse(text).unwrap_or_default()).get(full_name)
}

fn group_of(full_name: &str) -> &str {
    if let Some(rest) = full_name.strip_prefix("io.k8s.api.") {
        return rest.split('.').next().unwrap_or_default();
    }
    if full_name.contains(".apiextensions.") {
        "apiextensions"
    } else if full_name.contains(".apiregistration.") {
        "apiregistration"
    } else {
        "meta"
    }
}

/// Reads a file of the table; the error is the offending line.
pub(crate) fn parse(text: &str) -> Result<GroupFacts, String> {
    let mut package = "";
    let mut out = GroupFacts::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        if name == "package" {
            package = words.next().ok_or(line)?;
            continue;
        }
        let fact = parse_words(words).ok_or(line)?;
        let (type_name, field) = name.split_once('.').unwrap_or((name, ""));
        out.entry(format!("{package}.{type_name}")).or_default().insert(field.into(), fact);
    }
    Ok(out)
}

fn parse_words<'a>(words: impl Iterator<Item = &'a str>) -> Option<Fact> {
    let mut fact = Fact::default();
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "any" => fact.any = true,
            "atomic" => fact.atomic = true,
            "value" => fact.value = true,
            "required" => fact.required = Some(true),
            "optional" => fact.required = Some(false),
            "list" => fact.list = Some(parse_list(value)?),
            "patch" => fact.patch = Some(parse_patch(value)),
            "default" | "fill" => {
                let value = serde_json::from_str(value).ok()?;
                fact.default = Some(DefaultFact { value, fill: key == "fill", when: None });
            }
            "when" => fact.default.as_mut()?.when = Some(parse_when(value)),
            _ => return None,
        }
    }
    Some(fact)
}

fn parse_list(text: &str) -> Option<ListType> {
    match text.split_once(':') {
        None if text == "atomic" => Some(ListType::Atomic),
        None if text == "set" => Some(ListType::Set),
        Some(("map", keys)) => Some(ListType::Map(keys.split(',').map(Into::into).collect())),
        _ => None,
    }
}

fn parse_patch(text: &str) -> PatchFact {
    let (strategies, key) = text.split_once(':').map_or((text, None), |(s, k)| (s, Some(k.into())));
    PatchFact {
        merge: strategies.split('+').any(|s| s == "merge"),
        retain_keys: strategies.split('+').any(|s| s == "retainKeys"),
        key,
    }
}

fn parse_when(text: &str) -> When {
    if let Some(field) = text.strip_prefix('!') {
        return When::Absent(field.into());
    }
    let (field, values) = text.split_once(':').unwrap_or((text, ""));
    When::OneOf(field.into(), values.split('|').map(Into::into).collect())
}

#[cfg(test)]
mod tests;
