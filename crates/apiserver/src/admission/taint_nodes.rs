//! TaintNodesByCondition: new nodes are tainted until they are ready; pods that burst into memory pressure are kept
//! apart by a toleration.

use serde_json::{Value, json};

const NOT_READY: &str = "node.kubernetes.io/not-ready";

pub(super) fn admit(node: &mut Value) {
    let spec = api::meta::child_mut(api::meta::map_mut(node), "spec");
    let taints = spec.entry("taints").or_insert_with(|| json!([]));
    if let Some(taints) = taints.as_array_mut()
        && !taints.iter().any(|t| t.get("key").is_some_and(|k| k == NOT_READY))
    {
        taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
    }
}

/// Pods that are not best effort tolerate memory pressure (PodTolerationRestriction's counterpart upstream).
pub(super) fn tolerate(pod: &mut Value) {
    let has_requests = |c: &Value| {
        ["requests", "limits"]
            .iter()
            .any(|r| c.pointer(&format!("/resources/{r}")).and_then(Value::as_object).is_some_and(|m| !m.is_empty()))
    };
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
    if containers.into_iter().flatten().any(has_requests) {
        let toleration =
            json!({"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"});
        super::pod_tolerations::add(pod, toleration);
    }
}
