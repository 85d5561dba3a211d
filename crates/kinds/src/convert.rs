//! From one version of a kind to another; both are served versions of one resource.

mod autoscaling;
mod event;
#[cfg(test)]
mod tests;

use api::GroupVersionKind;
use serde_json::{Map, Value};

/// Brings an object from one version of its kind to another; both are served versions of one resource.
pub fn convert(object: &mut Value, from: &GroupVersionKind, to: &GroupVersionKind) {
    let Some(map) = object.as_object_mut() else { return };
    map.insert("apiVersion".into(), to.gv.to_string().into());
    match (&*to.kind, &*from.gv.group, &*from.gv.version, &*to.gv.group, &*to.gv.version) {
        ("Event", "", _, "events.k8s.io", _) => event::from_core(map),
        ("Event", "events.k8s.io", _, "", _) => event::to_core(map),
        ("HorizontalPodAutoscaler", _, "v1", _, "v2") => autoscaling::to_v2(map),
        ("HorizontalPodAutoscaler", _, "v2", _, "v1") => autoscaling::to_v1(map),
        _ => {}
    }
}

/// Gives fields other names; what is not there is not made.
fn rename(map: &mut Map<String, Value>, names: &[(&str, &str)]) {
    for (from, to) in names {
        if let Some(value) = map.remove(*from) {
            map.insert((*to).to_owned(), value);
        }
    }
}
