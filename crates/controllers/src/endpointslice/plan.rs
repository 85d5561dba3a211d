//! Which addresses a Service has, and how they are cut into slices. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode, ForZone,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;

use crate::common::owner::controller_reference;
use crate::common::pods;

/// Endpoints in a slice at most.
const MAX: usize = 100;
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
pub(super) const HEADLESS: &str = "service.kubernetes.io/headless";

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) create: Vec<EndpointSlice>,
    pub(super) update: Vec<EndpointSlice>,
    pub(super) delete: Vec<EndpointSlice>,
}

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
    let families = families(service);
    let mut plan = Plan::default();
    for family in &families {
        let mut groups: BTreeMap<String, (Vec<EndpointPort>, Vec<Endpoint>)> = BTreeMap::new();
        for pod in pods.iter().filter(|pod| !pods::is_finished(pod)) {
            if let Some(endpoint) = endpoint(service, pod, family, &zone) {
                let ports = ports(service, pod);
                groups.entry(format!("{ports:?}")).or_insert_with(|| (ports, Vec::new())).1.push(endpoint);
            }
        }
        let mut slices: Vec<_> = existing.iter().filter(|slice| slice.address_type == *family).cloned().collect();
        if groups.is_empty() {
            groups.insert(String::new(), (Vec::new(), Vec::new()));
        }
        for (ports, endpoints) in groups.into_values() {
            let own = |slice: &Arc<EndpointSlice>| slice.ports.clone().unwrap_or_default() == ports;
            let (mine, others) = slices.into_iter().partition(own);
            slices = others;
            fill(service, family, ports, endpoints, mine, &mut plan);
        }
        plan.delete.extend(slices.iter().map(|slice| (**slice).clone()));
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

fn key(endpoint: &Endpoint) -> (Option<String>, Vec<String>) {
    (endpoint.target_ref.as_ref().and_then(|target| target.uid.clone()), endpoint.addresses.clone())
}

/// Changes as few slices as possible: endpoints stay where they are, new ones go where there is room.
fn fill(
    service: &Service,
    family: &str,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
    existing: Vec<Arc<EndpointSlice>>,
    plan: &mut Plan,
) {
    let mut wanted: BTreeMap<_, Endpoint> = endpoints.into_iter().map(|endpoint| (key(&endpoint), endpoint)).collect();
    let mut slices: Vec<EndpointSlice> = existing.iter().map(|slice| (**slice).clone()).collect();
    for slice in &mut slices {
        let stay = slice.endpoints.iter().flatten().filter_map(|endpoint| wanted.remove(&key(endpoint)));
        slice.endpoints = Some(stay.collect());
    }
    let mut added = wanted.into_values();
    for slice in &mut slices {
        let list = slice.endpoints.get_or_insert_default();
        list.extend(added.by_ref().take(MAX.saturating_sub(list.len())));
    }
    let rest: Vec<_> = added.collect();
    let fresh: Vec<_> = rest.chunks(MAX).map(|chunk| slice(service, family, &ports, chunk.to_vec())).collect();
    // One stays, even if it is empty: it says that there is nobody.
    let used = |slice: &EndpointSlice| slice.endpoints.as_ref().is_some_and(|list| !list.is_empty());
    let mut keep = !fresh.is_empty() || slices.iter().any(used);
    if slices.is_empty() && !keep {
        plan.create.push(slice(service, family, &ports, Vec::new()));
    }
    plan.create.extend(fresh);
    for (mut slice, seen) in slices.into_iter().zip(existing) {
        if !used(&slice) && keep {
            plan.delete.push(slice);
            continue;
        }
        keep = true;
        dress(service, &mut slice.metadata);
        if !same(&slice, &seen) {
            plan.update.push(slice);
        }
    }
}

fn same(a: &EndpointSlice, b: &EndpointSlice) -> bool {
    a.metadata == b.metadata && a.endpoints.clone().unwrap_or_default() == b.endpoints.clone().unwrap_or_default()
}

fn slice(service: &Service, family: &str, ports: &[EndpointPort], endpoints: Vec<Endpoint>) -> EndpointSlice {
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let mut metadata = ObjectMeta {
        generate_name: Some(format!("{name}-")),
        namespace: service.metadata.namespace.clone(),
        owner_references: Some(vec![controller_reference(service)]),
        ..ObjectMeta::default()
    };
    dress(service, &mut metadata);
    EndpointSlice { metadata, address_type: family.to_owned(), endpoints: Some(endpoints), ports: Some(ports.to_vec()) }
}

/// Labels: the Service's, and those that say what it is.
fn dress(service: &Service, meta: &mut ObjectMeta) {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels.insert(SERVICE_NAME.into(), service.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    meta.labels = Some(labels);
}
