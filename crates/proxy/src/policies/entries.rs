//! What is kept of pods and namespaces: a few fields.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// The labels of an object.
pub(crate) type Labels = BTreeMap<String, String>;

/// A pod, as policies see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PodEntry {
    pub namespace: String,
    pub labels: Labels,
    pub node: String,
    /// Its own address. A pod in the node's network has none of its own, one that is over has lost it.
    pub address: Option<Ipv4Addr>,
    /// Named ports: name, protocol, number.
    pub ports: Vec<(String, String, u16)>,
}

pub(crate) fn pod_entry(pod: Pod) -> PodEntry {
    let (spec, status) = (pod.spec.unwrap_or_default(), pod.status.unwrap_or_default());
    let is_over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let has_own = spec.host_network != Some(true) && !is_over;
    let texts = status.pod_ip.into_iter().chain(status.pod_ips.into_iter().flatten().map(|ip| ip.ip));
    let inits = spec.init_containers.unwrap_or_default();
    let sidecars = inits.into_iter().filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.into_iter().chain(sidecars).flat_map(|container| container.ports.unwrap_or_default());
    let named = ports.filter_map(|port| {
        let protocol = port.protocol.unwrap_or_else(|| "TCP".to_owned());
        Some((port.name?, protocol, u16::try_from(port.container_port).ok()?))
    });
    PodEntry {
        namespace: pod.metadata.namespace.unwrap_or_default(),
        labels: pod.metadata.labels.unwrap_or_default(),
        node: spec.node_name.unwrap_or_default(),
        ports: named.collect(),
        address: texts.filter(|_| has_own).find_map(|text| text.parse().ok()),
    }
}

pub(crate) fn namespace_entry(namespace: Namespace) -> (String, Labels) {
    let labels = namespace.metadata.labels.unwrap_or_default();
    (namespace.metadata.name.unwrap_or_default(), labels)
}

/// A selector that is not given selects all, as an empty one does.
pub(super) fn matches(selector: Option<&LabelSelector>, labels: &Labels) -> bool {
    let Some(selector) = selector else { return true };
    client::selector(Some(selector)).is_some_and(|selector| selector.matches(labels))
}
