//! Services: defaults.

mod validate;

pub(crate) use validate::{prepare_update, validate, validate_update};

use serde_json::{Value, json};

/// Seconds of client-IP affinity.
const AFFINITY_SECONDS: i64 = 10_800;

pub(crate) fn default(service: &mut Value) {
    let spec = api::meta::child_mut(api::meta::map_mut(service), "spec");
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or("ClusterIP").to_owned();
    let affinity = spec.get("sessionAffinity").and_then(Value::as_str).unwrap_or("None").to_owned();
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let port = api::meta::map_mut(port);
        let unset = port.get("targetPort").is_none_or(|t| t.is_null() || t == &json!(0) || t == &json!(""));
        if let Some(number) = port.get("port").cloned().filter(|_| unset) {
            port.insert("targetPort".into(), number);
        }
    }
    match affinity.as_str() {
        "ClientIP" => {
            let config = api::meta::child_mut(spec, "sessionAffinityConfig");
            let client = api::meta::child_mut(config, "clientIP");
            client.entry("timeoutSeconds").or_insert_with(|| AFFINITY_SECONDS.into());
        }
        _ => {
            spec.remove("sessionAffinityConfig");
        }
    }
    if kind != "ExternalName" {
        spec.entry("internalTrafficPolicy").or_insert_with(|| "Cluster".into());
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        spec.entry("externalTrafficPolicy").or_insert_with(|| "Cluster".into());
    }
    if kind == "LoadBalancer" {
        spec.entry("allocateLoadBalancerNodePorts").or_insert_with(|| true.into());
    }
}

pub(crate) fn prepare_create(service: &mut Value) {
    api::meta::put(service, "status", json!({"loadBalancer": {}}));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_port_is_the_port_unless_said() {
        let mut service =
            json!({"spec": {"type": "NodePort", "ports": [{"port": 80}, {"port": 1, "targetPort": "web"}]}});
        default(&mut service);
        assert_eq!(service.pointer("/spec/ports/0/targetPort"), Some(&json!(80)));
        assert_eq!(service.pointer("/spec/ports/1/targetPort"), Some(&json!("web")));
        assert_eq!(service.pointer("/spec/externalTrafficPolicy"), Some(&json!("Cluster")));
    }
}
