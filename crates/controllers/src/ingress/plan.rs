//! Where Ingresses are answered. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use client::ingress::{CLASS, CONTROLLER, DEFAULT_CLASS, PORTS};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::networking::v1::{IngressClass, IngressClassSpec, IngressLoadBalancerIngress, IngressPortStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::servicelb::{Door, doors, host};

/// The class that a cluster begins with.
pub(super) fn class() -> IngressClass {
    let annotations = [(DEFAULT_CLASS.to_owned(), "true".to_owned())];
    IngressClass {
        metadata: ObjectMeta {
            name: Some(CLASS.to_owned()),
            annotations: Some(annotations.into()),
            ..ObjectMeta::default()
        },
        spec: Some(IngressClassSpec { controller: Some(CONTROLLER.to_owned()), ..IngressClassSpec::default() }),
    }
}

/// The nodes that answer, by name, each with its ports; without those that services have there.
pub(super) fn points<'a>(
    nodes: impl IntoIterator<Item = &'a Node>,
    services: impl IntoIterator<Item = &'a Service>,
) -> Vec<IngressLoadBalancerIngress> {
    let taken: BTreeSet<Door> = services.into_iter().flat_map(doors).collect();
    let mut nodes: Vec<(String, IngressLoadBalancerIngress)> =
        nodes.into_iter().filter_map(|node| Some((node.metadata.name.clone()?, point(node, &taken)?))).collect();
    nodes.sort_by(|a, b| a.0.cmp(&b.0));
    nodes.into_iter().map(|(_, point)| point).collect()
}

fn point(node: &Node, taken: &BTreeSet<Door>) -> Option<IngressLoadBalancerIngress> {
    let said = node.metadata.annotations.as_ref()?.get(PORTS)?;
    let address: IpAddr = host(node)?.address;
    let ports = said.split(',').filter_map(|port| port.trim().parse::<u16>().ok());
    let free = ports.filter(|port| !taken.contains(&(address, "TCP", *port)));
    let ports: Vec<IngressPortStatus> = free
        .map(|port| IngressPortStatus { port: port.into(), protocol: "TCP".to_owned(), ..IngressPortStatus::default() })
        .collect();
    let point = IngressLoadBalancerIngress { ip: Some(address.to_string()), ports: Some(ports), hostname: None };
    point.ports.as_ref().is_some_and(|ports| !ports.is_empty()).then_some(point)
}
