//! `pods/NAME/binding`: where a pod goes.

use api::ApiError;
use serde_json::{Value, json};

use crate::context::Context;
use crate::registry::create::Written;

/// `pods/NAME/binding`: the scheduler's decision.
pub(crate) async fn bind(context: &Context, name: &str, binding: &Value) -> Result<Written, ApiError> {
    let node = api::meta::at(binding, "/target/name").to_owned();
    if node.is_empty() {
        let error = api::field::FieldError::required("target.name", "");
        return Err(ApiError::invalid("", "Binding", name, &[error]));
    }
    let annotations = api::meta::of(binding).and_then(|m| m.get("annotations")).cloned();
    context
        .change(name, |shown| {
            let refuse = |why: String| Err(ApiError::conflict("", "pods/binding", name, &why));
            if api::meta::is_deleting(shown) {
                return refuse(format!("pod {name} is being deleted, cannot be assigned to a host"));
            }
            let bound = api::meta::at(shown, "/spec/nodeName");
            if !bound.is_empty() {
                return refuse(format!("pod {name} is already assigned to node \"{bound}\""));
            }
            if shown.pointer("/spec/schedulingGates").and_then(Value::as_array).is_some_and(|g| !g.is_empty()) {
                return refuse(format!("pod {name} has non-empty .spec.schedulingGates"));
            }
            let mut pod = shown.clone();
            set_bound(&mut pod, &node, annotations.as_ref(), &api::time::seconds(context.now));
            Ok(pod)
        })
        .await
}

fn set_bound(pod: &mut Value, node: &str, annotations: Option<&Value>, now: &str) {
    let map = api::meta::map_mut(pod);
    api::meta::child_mut(map, "spec").insert("nodeName".into(), node.into());
    let conditions = api::meta::child_mut(map, "status").entry("conditions").or_insert_with(|| json!([]));
    if let Some(list) = conditions.as_array_mut() {
        list.retain(|c| c.get("type").is_none_or(|t| t != "PodScheduled"));
        list.push(json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now}));
    }
    if let Some(annotations) = annotations.and_then(Value::as_object) {
        let metadata = api::meta::of_mut(pod);
        api::meta::child_mut(metadata, "annotations").extend(annotations.clone());
    }
}
