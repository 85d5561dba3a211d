//! Which addresses a Service has. Pure.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode, ForZone,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::pack::{self, Frame, Groups, Plan};
use super::{MANAGED_BY, SERVICE_NAME};
use crate::common::pods;

/// Endpoints in a slice at most.
const MAX: usize = 100;
const MANAGER: &str = "endpointslice-controller.k8s.io";
pub(super) const HEADLESS: &str = "service.kubernetes.io/headless";

pub(super) fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// `zone` gives the zone of a node.
pub(super) fn plan(
    service: &Service,
    pods: &[Arc<Pod>],
    existing: &[Arc<EndpointSlice>],
    zone: impl Fn(&str) -> Option<String>,
) -> Plan {
    let (families, frame) = (families(service), frame(service));
    let mut plan = Plan::default();
    for family in &families {
        let mut groups = Groups::new();
        for pod in pods.iter().filter(|pod| !pods::is_finished(pod)) {
            if let Some(endpoint) = endpoint(service, pod, family, &zone) {
                pack::add(&mut groups, ports(service, pod), endpoint);
            }
        }
        if groups.is_empty() {
            groups.insert(String::new(), (Vec::new(), Vec::new()));
        }
        pack::pack(&frame, family, groups, existing, &mut plan);
    }
    let foreign = existing.iter().filter(|slice| !families.contains(&slice.address_type));
    plan.delete.extend(foreign.map(|slice| (**slice).clone()));
    plan
}

fn families(service: &Service) -> Vec<String> {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.clone()).unwrap_or_default();
    if families.is_empty() { vec!["IPv4".into()] } else { families }
}

fn address(pod: &Pod, family: &str) -> Option<String> {
    let status = pod.status.as_ref()?;
    let all = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str()).chain(status.pod_ip.as_deref());
    let fits = |text: &&str| text.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6() == (family == "IPv6"));
    all.filter(|text| !text.is_empty()).find(fits).map(str::to_owned)
}

fn endpoint(service: &Service, pod: &Pod, family: &str, zone: &impl Fn(&str) -> Option<String>) -> Option<Endpoint> {
    let address = address(pod, family)?;
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let (serving, terminating) = (pods::is_ready(pod), pods::is_terminating(pod));
    let publish = service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true);
    let zone = node.as_deref().and_then(zone);
    let ready = publish || (serving && !terminating);
    let hints = hints(service, node.as_ref(), zone.as_ref()).filter(|_| ready);
    Some(Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(service, pod),
        zone,
        node_name: node,
        target_ref: Some(target(pod)),
        hints,
        ..Endpoint::default()
    })
}

/// For whom the endpoint is near enough, if the Service prefers near ones.
fn hints(service: &Service, node: Option<&String>, zone: Option<&String>) -> Option<EndpointHints> {
    let wish = service.spec.as_ref()?.traffic_distribution.as_deref()?;
    let for_zones = zone.map(|zone| vec![ForZone { name: zone.clone() }]);
    let for_nodes = match wish {
        "PreferClose" | "PreferSameZone" => None,
        "PreferSameNode" => node.map(|node| vec![ForNode { name: node.clone() }]),
        _ => return None,
    };
    (for_zones.is_some() || for_nodes.is_some()).then_some(EndpointHints { for_nodes, for_zones })
}

pub(super) fn target(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The name of a pod within a headless service.
pub(super) fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let within = spec.subdomain.is_some() && spec.subdomain == service.metadata.name;
    spec.hostname.clone().filter(|name| !name.is_empty() && within)
}

/// The Service's ports on this pod; a named one may be another number on each.
fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let on_pod = ports.filter_map(|port| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(number(port, pod)?),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
            app_protocol: port.app_protocol.clone(),
        })
    });
    on_pod.collect()
}

pub(super) fn number(port: &ServicePort, pod: &Pod) -> Option<i32> {
    let name = match &port.target_port {
        None | Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let mut named = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    let protocol = |text: &Option<String>| text.clone().unwrap_or_else(|| "TCP".into());
    let found = named.find(|p| p.name.as_ref() == Some(name) && protocol(&p.protocol) == protocol(&port.protocol));
    found.map(|port| port.container_port)
}

/// What its slices have in common: the Service's labels, and those that say what they are.
fn frame(service: &Service) -> Frame {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels.insert(SERVICE_NAME.into(), service.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    Frame { metadata: pack::metadata(service, labels), max: MAX }
}
