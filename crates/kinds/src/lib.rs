//! What is particular to a kind: defaults that depend on other fields, validation, what an update may change, which
//! fields can be selected by, and the columns that `kubectl get` prints.
//!
//! Everything generic (metadata, schemas, patches) is elsewhere; a kind without rules of its own gets [`Rules::PLAIN`].
//! Pure: trees in, trees and complaints out.

mod apps;
mod columns;
mod core;
mod rules;

pub use columns::{Cell, Column, Printer, printer};
pub use rules::{NameRule, Rules};

use api::GroupVersionKind;

/// The rules of a kind, looked up by its storage version's GVK.
pub fn rules(gvk: &GroupVersionKind) -> &'static Rules {
    match &*gvk.gv.group {
        "" => core::rules(&gvk.kind),
        "apps" => apps::rules(&gvk.kind),
        "apiregistration.k8s.io" => &rules::API_SERVICE,
        "rbac.authorization.k8s.io" => &rules::RBAC,
        _ => &Rules::PLAIN,
    }
}

/// Brings an object from one version of its kind to another; both are served versions of one resource.
pub fn convert(object: &mut serde_json::Value, _from: &GroupVersionKind, to: &GroupVersionKind) {
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".into(), to.gv.to_string().into());
    }
}
