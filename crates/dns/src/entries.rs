//! What is kept of each object: a few fields.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

/// Nothing of a namespace but that it is there.
pub(crate) struct NamespaceEntry;

pub(crate) fn namespace(_: Namespace) -> NamespaceEntry {
    NamespaceEntry
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Port {
    pub name: String,
    /// In lower case.
    pub protocol: String,
    pub number: u16,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ServiceEntry {
    pub namespace: String,
    pub name: String,
    /// Cluster addresses.
    pub addresses: Vec<IpAddr>,
    pub is_headless: bool,
    pub external_name: Option<String>,
    /// Endpoints are named even while they are not ready.
    pub publishes_not_ready: bool,
    pub ports: Vec<Port>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub addresses: Vec<IpAddr>,
    pub hostname: Option<String>,
    pub ready: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SliceEntry {
    pub namespace: String,
    pub service: String,
    pub endpoints: Vec<Endpoint>,
    pub ports: Vec<Port>,
}

/// A pod of this node that searches for names as all do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PodEntry {
    pub namespace: String,
    pub addresses: Vec<IpAddr>,
}

/// Pods in the node's network, and those with settings of their own, search elsewhere: they keep no address here.
pub(crate) fn pod(pod: Pod) -> PodEntry {
    let (spec, status) = (pod.spec.unwrap_or_default(), pod.status.unwrap_or_default());
    let is_plain = spec.host_network != Some(true)
        && spec.dns_config.is_none()
        && spec.dns_policy.as_deref().is_none_or(|policy| policy.starts_with("ClusterFirst"));
    let is_over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let texts = status.pod_ips.unwrap_or_default().into_iter().map(|ip| ip.ip).filter(|_| is_plain && !is_over);
    PodEntry { namespace: pod.metadata.namespace.unwrap_or_default(), addresses: addresses(texts.collect()) }
}

fn port(name: Option<String>, protocol: Option<String>, number: Option<i32>) -> Option<Port> {
    let protocol = protocol.map_or_else(|| "tcp".to_owned(), |p| p.to_ascii_lowercase());
    Some(Port { name: name.unwrap_or_default(), protocol, number: u16::try_from(number?).ok()? })
}

fn addresses(texts: Vec<String>) -> Vec<IpAddr> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

pub(crate) fn service(service: Service) -> ServiceEntry {
    let spec = service.spec.unwrap_or_default();
    let is_external = spec.type_.as_deref() == Some("ExternalName");
    let texts = spec.cluster_ips.or_else(|| spec.cluster_ip.map(|ip| vec![ip])).unwrap_or_default();
    ServiceEntry {
        namespace: service.metadata.namespace.unwrap_or_default(),
        name: service.metadata.name.unwrap_or_default(),
        is_headless: !is_external && texts.iter().any(|ip| ip == "None"),
        addresses: if is_external { Vec::new() } else { addresses(texts) },
        external_name: spec.external_name.filter(|_| is_external),
        publishes_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
        ports: spec
            .ports
            .unwrap_or_default()
            .into_iter()
            .filter_map(|p| port(p.name, p.protocol, Some(p.port)))
            .collect(),
    }
}

pub(crate) fn slice(slice: EndpointSlice) -> SliceEntry {
    let mut labels = slice.metadata.labels.unwrap_or_default();
    let endpoints = slice.endpoints.unwrap_or_default().into_iter().map(|endpoint| Endpoint {
        addresses: addresses(endpoint.addresses),
        hostname: endpoint.hostname.filter(|name| !name.is_empty()),
        // Not said means ready.
        ready: endpoint.conditions.and_then(|c| c.ready).unwrap_or(true),
    });
    SliceEntry {
        namespace: slice.metadata.namespace.unwrap_or_default(),
        service: labels.remove("kubernetes.io/service-name").unwrap_or_default(),
        endpoints: endpoints.collect(),
        ports: slice.ports.unwrap_or_default().into_iter().filter_map(|p| port(p.name, p.protocol, p.port)).collect(),
    }
}
