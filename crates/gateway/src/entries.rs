//! What is kept of each object: a few fields.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

const SERVICE_NAME: &str = "kubernetes.io/service-name";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Port {
    pub name: String,
    pub number: u16,
    /// The endpoints speak HTTP/2 without TLS.
    pub h2c: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ServiceEntry {
    /// A name elsewhere: nothing that packets go to.
    pub is_external_name: bool,
    /// A client stays with its endpoint.
    pub is_sticky: bool,
    /// Those of TCP.
    pub ports: Vec<Port>,
}

pub(crate) fn service(service: Service) -> ServiceEntry {
    let spec = service.spec.unwrap_or_default();
    let ports = spec.ports.into_iter().flatten().filter(|port| is_tcp(port.protocol.as_deref()));
    let port = |port: k8s_openapi::api::core::v1::ServicePort| {
        Some(Port {
            name: port.name.unwrap_or_default(),
            number: u16::try_from(port.port).ok()?,
            h2c: port.app_protocol.as_deref() == Some("kubernetes.io/h2c"),
        })
    };
    ServiceEntry {
        is_external_name: spec.type_.as_deref() == Some("ExternalName"),
        is_sticky: spec.session_affinity.as_deref() == Some("ClientIP"),
        ports: ports.filter_map(port).collect(),
    }
}

/// Whether an endpoint may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Ready,
    /// It ends, but goes on serving: for when there is no other.
    Ending,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SliceEntry {
    pub namespace: String,
    pub service: String,
    /// Names and numbers of those of TCP.
    pub ports: Vec<(String, u16)>,
    pub endpoints: Vec<(IpAddr, Use)>,
}

pub(crate) fn slice(slice: EndpointSlice) -> SliceEntry {
    let service = slice.metadata.labels.and_then(|mut labels| labels.remove(SERVICE_NAME));
    let ports = slice.ports.into_iter().flatten().filter(|port| is_tcp(port.protocol.as_deref()));
    let port = |port: k8s_openapi::api::discovery::v1::EndpointPort| {
        Some((port.name.unwrap_or_default(), u16::try_from(port.port?).ok()?))
    };
    SliceEntry {
        namespace: slice.metadata.namespace.unwrap_or_default(),
        service: service.unwrap_or_default(),
        ports: ports.filter_map(port).collect(),
        endpoints: slice.endpoints.iter().flatten().filter_map(endpoint).collect(),
    }
}

fn endpoint(endpoint: &Endpoint) -> Option<(IpAddr, Use)> {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let usable = if conditions.ready.unwrap_or(true) {
        Use::Ready
    } else if conditions.serving.unwrap_or(true) && conditions.terminating.unwrap_or(false) {
        Use::Ending
    } else {
        return None;
    };
    Some((endpoint.addresses.first()?.parse().ok()?, usable))
}

fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol == "TCP")
}

/// This node, and what it says of its gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodeEntry {
    pub uid: Option<String>,
    pub ports: Option<String>,
    pub addresses: Vec<String>,
}

pub(crate) fn node(node: Node) -> NodeEntry {
    let ports = node.metadata.annotations.and_then(|mut all| all.remove(client::ingress::PORTS));
    let addresses = node.status.into_iter().flat_map(|status| status.addresses.into_iter().flatten());
    NodeEntry { uid: node.metadata.uid, ports, addresses: addresses.map(|address| address.address).collect() }
}
