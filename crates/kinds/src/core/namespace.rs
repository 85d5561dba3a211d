//! Namespaces: the label of their name, and the finalizer that lets their content go first.

use serde_json::{Value, json};

pub(crate) fn default(namespace: &mut Value) {
    let name = api::meta::name(namespace).to_owned();
    if !name.is_empty() {
        let labels = api::meta::child_mut(api::meta::of_mut(namespace), "labels");
        labels.insert("kubernetes.io/metadata.name".into(), name.into());
    }
}

pub(crate) fn prepare_create(namespace: &mut Value) {
    let map = api::meta::map_mut(namespace);
    let finalizers = api::meta::child_mut(map, "spec").entry("finalizers").or_insert_with(|| json!([]));
    if let Some(list) = finalizers.as_array_mut()
        && !list.iter().any(|f| f == "kubernetes")
    {
        list.push("kubernetes".into());
    }
    map.insert("status".into(), json!({"phase": "Active"}));
}

/// Only the finalize subresource changes `spec.finalizers`.
pub(crate) fn prepare_update(new: &mut Value, old: &Value) {
    let map = api::meta::map_mut(new);
    match old.get("spec") {
        Some(spec) => map.insert("spec".into(), spec.clone()),
        None => map.remove("spec"),
    };
}
