//! Why nobody answers behind a service.

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Answer, pod};

/// Whether a pod is selected.
fn selects(service: &Service, pod: &Pod) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default();
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// The answer; the pods are those of the service's namespace.
pub(crate) fn why(service: &Service, pods: &[Pod]) -> Answer {
    let spec = service.spec.clone().unwrap_or_default();
    if spec.type_.as_deref() == Some("ExternalName") {
        let name = spec.external_name.unwrap_or_default();
        return Answer::healthy(format!(
            "it is another name for {name}; whether that answers is not the cluster's business"
        ));
    }
    let selector = spec.selector.clone().unwrap_or_default();
    if selector.is_empty() {
        return Answer::blocked(
            "it has no selector: its endpoints are what somebody writes",
            "add a selector, or keep an EndpointSlice with the label kubernetes.io/service-name",
        );
    }
    let text: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let text = text.join(",");
    let selected: Vec<&Pod> = pods.iter().filter(|pod| selects(service, pod)).collect();
    if selected.is_empty() {
        let remedy = format!(
            "give the pods these labels, or correct the selector; compare: kubectl get pods --show-labels, and {text}"
        );
        return Answer::blocked(format!("no pod has the labels that it selects: {text}"), remedy);
    }
    let ready: Vec<&&Pod> = selected.iter().filter(|pod| pod::is_ready(pod)).collect();
    let name = |pod: &Pod| pod.metadata.name.clone().unwrap_or_default();
    let Some(first) = ready.first() else {
        let worst = selected.first().map(|pod| name(pod)).unwrap_or_default();
        let details = selected.iter().map(|pod| format!("pod/{} is not ready", name(pod)));
        let cause = format!("it selects {} pods, and none is ready", selected.len());
        return Answer::blocked(cause, format!("see why: oxikube why pod/{worst}")).with(details);
    };
    if let Some(answer) = ports(&spec, first) {
        return answer;
    }
    Answer::healthy(format!("{} of {} pods are ready behind it", ready.len(), selected.len()))
}

/// A port that leads nowhere.
fn ports(spec: &k8s_openapi::api::core::v1::ServiceSpec, pod: &Pod) -> Option<Answer> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let known: Vec<_> = containers.flat_map(|container| container.ports.iter().flatten()).collect();
    for port in spec.ports.iter().flatten() {
        let Some(IntOrString::String(target)) = &port.target_port else { continue };
        if known.iter().all(|port| port.name.as_ref() != Some(target)) {
            let cause = format!("port {} leads to a port named {target:?}, which its pods do not have", port.port);
            let remedy = "give the container's port that name, or correct targetPort";
            return Some(Answer::blocked(cause, remedy));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn causes() {
        let pod = |ready: &str| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": "p", "labels": {"app": "x"}},
                "spec": {"containers": [{"name": "c", "ports": [{"name": "web", "containerPort": 80}]}]},
                "status": {"conditions": [{"type": "Ready", "status": ready}]}}))
            .unwrap()
        };
        let said = |spec: Value, pods: &[Pod]| {
            why(&serde_json::from_value(json!({"metadata": {"name": "s"}, "spec": spec})).unwrap(), pods).text()
        };
        let by = json!({"selector": {"app": "x"}, "ports": [{"port": 80, "targetPort": "web"}]});
        assert!(said(json!({}), &[]).contains("no selector"));
        assert!(said(by.clone(), &[]).contains("no pod has the labels that it selects: app=x"));
        assert!(said(by.clone(), &[pod("False")]).contains("oxikube why pod/p"));
        assert!(said(by, &[pod("True")]).contains("1 of 1 pods are ready"));
        let wrong = json!({"selector": {"app": "x"}, "ports": [{"port": 80, "targetPort": "http"}]});
        assert!(said(wrong, &[pod("True")]).contains("port named \"http\""));
        assert!(said(json!({"type": "ExternalName", "externalName": "e.org"}), &[]).contains("e.org"));
    }
}
