//! DefaultTolerationSeconds: pods stay five minutes on a node that is not ready or not reachable.

use serde_json::{Value, json};

const SECONDS: i64 = 300;

pub(super) fn admit(pod: &mut Value) {
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = pod.pointer("/spec/tolerations").and_then(Value::as_array).into_iter().flatten().any(|t| {
            let field = |name: &str| t.get(name).and_then(Value::as_str).unwrap_or_default();
            (field("key") == key || field("key").is_empty()) && matches!(field("effect"), "NoExecute" | "")
        });
        if !tolerated {
            add(pod, json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}));
        }
    }
}

/// Appends a toleration.
pub(super) fn add(pod: &mut Value, toleration: Value) {
    let spec = api::meta::child_mut(api::meta::map_mut(pod), "spec");
    let list = spec.entry("tolerations").or_insert_with(|| json!([]));
    if let Some(list) = list.as_array_mut() {
        list.push(toleration);
    }
}
