//! Schemas of the built-in kinds, made from the types' own description when a kind is first needed.

mod build;
mod kinds;

use std::collections::{BTreeMap, HashMap};
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

/// The full type name of a built-in kind.
pub(crate) fn type_name(gvk: &GroupVersionKind) -> Option<String> {
    kinds::find(&gvk.gv.group, &gvk.gv.version, &gvk.kind).map(|(name, _)| name)
}

/// The JSON schemas of the built-in ones among these kinds, and of all they contain, by full name.
pub(crate) fn describe_kinds<'a>(kinds: impl Iterator<Item = &'a GroupVersionKind>) -> BTreeMap<String, Value> {
    let mut generator = schemars::SchemaGenerator::default();
    let mut all = BTreeMap::new();
    for gvk in kinds {
        let Some((name, describe)) = kinds::find(&gvk.gv.group, &gvk.gv.version, &gvk.kind) else { continue };
        all.entry(name).or_insert_with(|| describe(&mut generator).to_value());
    }
    all.extend(generator.take_definitions(false));
    all
}

#[cfg(test)]
mod tests;
