//! Pods: defaults and what a creator may not say. The defaults of the spec serve pod templates, too.

pub(crate) mod containers;
pub(crate) mod scheduling;
mod security;
pub(crate) mod spec;
pub(crate) mod template;
pub(crate) mod update;
pub(crate) mod volumes;

use serde_json::{Map, Value, json};

use crate::check::{At, Errors};

/// Lists of a pod's containers.
pub(crate) const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

pub(crate) fn default(pod: &mut Value) {
    let spec = api::meta::child_mut(api::meta::map_mut(pod), "spec");
    default_spec(spec);
    if !spec.contains_key("enableServiceLinks") {
        spec.insert("enableServiceLinks".into(), true.into());
    }
    if spec.get("hostNetwork") == Some(&Value::Bool(true)) {
        default_host_ports(spec);
    }
}

/// Defaults of a pod's or a pod template's spec that depend on other fields.
pub(crate) fn default_spec(spec: &mut Map<String, Value>) {
    spec.entry("securityContext").or_insert_with(|| json!({}));
    for volume in spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        let volume = api::meta::map_mut(volume);
        if volume.iter().all(|(key, value)| key == "name" || value.is_null()) {
            volume.insert("emptyDir".into(), json!({}));
        }
    }
    for list in CONTAINERS {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            default_container(api::meta::map_mut(container));
        }
    }
}

fn default_container(container: &mut Map<String, Value>) {
    if container.get("imagePullPolicy").and_then(Value::as_str).unwrap_or_default().is_empty() {
        let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
        let policy = if is_latest(image) { "Always" } else { "IfNotPresent" };
        container.insert("imagePullPolicy".into(), policy.into());
    }
    let limits = container.get("resources").and_then(|r| r.get("limits")).and_then(Value::as_object).cloned();
    if let Some(limits) = limits.filter(|l| !l.is_empty()) {
        let resources = api::meta::child_mut(container, "resources");
        let requests = api::meta::child_mut(resources, "requests");
        for (name, amount) in limits {
            requests.entry(name).or_insert(amount);
        }
    }
    container.entry("resources").or_insert_with(|| json!({}));
}

/// No tag, or the tag `latest`, and no digest.
fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let name = image.rsplit('/').next().unwrap_or_default();
    name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

/// On the host's network a container's port is the host's.
fn default_host_ports(spec: &mut Map<String, Value>) {
    for list in CONTAINERS {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                let port = api::meta::map_mut(port);
                let Some(number) = port.get("containerPort").cloned() else { continue };
                if port.get("hostPort").and_then(Value::as_i64).unwrap_or(0) == 0 {
                    port.insert("hostPort".into(), number);
                }
            }
        }
    }
}

pub(crate) fn prepare_create(pod: &mut Value) {
    let class = quality(pod);
    let gated = pod.pointer("/spec/schedulingGates").and_then(Value::as_array).is_some_and(|gates| !gates.is_empty());
    let mut status = json!({"phase": "Pending", "qosClass": class});
    if gated {
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates"});
        api::meta::put(&mut status, "conditions", json!([condition]));
    }
    api::meta::map_mut(pod).insert("status".into(), status);
}

/// Complaints about a pod.
pub(crate) fn validate(pod: &Value) -> Errors {
    let mut errors = Errors::new();
    spec::validate(&At::field(pod, "spec"), &mut errors);
    errors
}

/// Complaints about a new pod only.
pub(crate) fn validate_new(pod: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(pod, "spec");
    let ephemeral = spec.get("ephemeralContainers");
    if !ephemeral.is_empty() {
        errors.push(ephemeral.forbidden("cannot be set on create"));
    }
    let gates = spec.get("schedulingGates");
    if !gates.is_empty() && !spec.get("nodeName").is_empty() {
        errors.push(spec.get("nodeName").forbidden("cannot be set until all schedulingGates have been cleared"));
    }
    errors
}

/// Quality-of-service class: <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>
pub(crate) fn quality(pod: &Value) -> &'static str {
    let (mut any, mut guaranteed) = (false, true);
    for list in ["initContainers", "containers"] {
        let containers = pod.pointer(&format!("/spec/{list}")).and_then(Value::as_array);
        for container in containers.into_iter().flatten() {
            for resource in ["cpu", "memory"] {
                let amount = |kind: &str| {
                    let text = container.pointer(&format!("/resources/{kind}/{resource}"));
                    let text = text.map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
                    text.and_then(|t| api::Quantity::parse(&t).ok()).filter(|q| !q.is_zero())
                };
                let (request, limit) = (amount("requests"), amount("limits"));
                any |= request.is_some() || limit.is_some();
                guaranteed &= limit.is_some() && request == limit;
            }
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod cases;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_without_a_fixed_tag_are_always_pulled() {
        for (image, latest) in [
            ("nginx", true),
            ("nginx:latest", true),
            ("nginx:1.29", false),
            ("reg:5000/a/nginx", true),
            ("reg:5000/nginx:1", false),
            ("nginx@sha256:ab", false),
        ] {
            assert_eq!(is_latest(image), latest, "{image}");
        }
    }

    #[test]
    fn limits_become_requests() {
        let mut pod = json!({"spec": {"containers": [
            {"image": "a:1", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}},
        ]}});
        default(&mut pod);
        let requests = pod.pointer("/spec/containers/0/resources/requests");
        assert_eq!(requests, Some(&json!({"cpu": "500m", "memory": "1Gi"})));
        assert_eq!(quality(&pod), "Burstable");
    }

    #[test]
    fn quality_of_service() {
        let pod = |resources: Value| json!({"spec": {"containers": [{"resources": resources}]}});
        assert_eq!(quality(&pod(json!({}))), "BestEffort");
        let same = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}});
        assert_eq!(quality(&pod(same)), "Guaranteed");
        assert_eq!(quality(&pod(json!({"requests": {"memory": "1Gi"}}))), "Burstable");
    }
}
