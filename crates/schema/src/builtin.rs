//! Schemas of the built-in kinds, made from the types' own description when a kind is first needed.

mod build;
mod kinds;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use api::GroupVersionKind;
use serde_json::Value;

use crate::node::Schema;

pub(crate) use kinds::Describe;

/// Every named type that was met so far. Types are shared between kinds, so a Deployment costs little after a Pod.
static TYPES: LazyLock<RwLock<HashMap<Box<str>, Arc<Schema>>>> = LazyLock::new(RwLock::default);

/// The schema of a built-in kind; none if this is not one. Made when first asked for, then kept.
pub fn builtin(gvk: &GroupVersionKind) -> Option<Arc<Schema>> {
    let (name, describe) = kinds::find(&gvk.gv.group, &gvk.gv.version, &gvk.kind)?;
    if let Some(known) = named(&name) {
        return Some(known);
    }
    for (name, description) in describe_all(&name, describe) {
        let missing = !read_types().contains_key(name.as_str());
        if missing {
            let schema = Arc::new(build::named_type(&name, &description));
            TYPES.write().unwrap_or_else(PoisonError::into_inner).entry(name.into()).or_insert(schema);
        }
    }
    named(&name)
}

/// A type by its full name, if a kind that contains it was asked for before.
pub(crate) fn named(name: &str) -> Option<Arc<Schema>> {
    read_types().get(name).cloned()
}

fn read_types() -> std::sync::RwLockReadGuard<'static, HashMap<Box<str>, Arc<Schema>>> {
    TYPES.read().unwrap_or_else(PoisonError::into_inner)
}

/// The JSON schemas of a type and of all it contains, by full name.
pub(crate) fn describe_all(name: &str, describe: Describe) -> Vec<(String, Value)> {
    let mut generator = schemars::SchemaGenerator::default();
    let root = describe(&mut generator);
    let mut all: Vec<(String, Value)> = generator.take_definitions(false).into_iter().collect();
    if !all.iter().any(|(known, _)| known == name) {
        all.push((name.to_owned(), root.to_value()));
    }
    all
}

/// The description of a built-in kind: its full name, and the JSON schemas of all it contains.
#[allow(dead_code)]
pub(crate) fn describe(gvk: &GroupVersionKind) -> Option<(String, Vec<(String, Value)>)> {
    let (name, describe) = kinds::find(&gvk.gv.group, &gvk.gv.version, &gvk.kind)?;
    let all = describe_all(&name, describe);
    Some((name, all))
}

#[cfg(test)]
mod tests;
