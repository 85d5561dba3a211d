//! DefaultTolerationSeconds: pods stay for a while, five minutes by default, on a node that is not ready or not
//! reachable.

use serde_json::{Value, json};

use crate::config::Config;

pub(super) fn admit(pod: &mut Value, config: &Config) {
    for (key, seconds) in [
        ("node.kubernetes.io/not-ready", config.not_ready_toleration_seconds),
        ("node.kubernetes.io/unreachable", config.unreachable_toleration_seconds),
    ] {
        let tolerated = pod.pointer("/spec/tolerations").and_then(Value::as_array).into_iter().flatten().any(|t| {
            let field = |name: &str| t.get(name).and_then(Value::as_str).unwrap_or_default();
            (field("key") == key || field("key").is_empty()) && matches!(field("effect"), "NoExecute" | "")
        });
        if !tolerated {
            add(pod, json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}));
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
