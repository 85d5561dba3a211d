//! Which Endpoints are mirrored, and what their slices say. Pure.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};

use crate::endpointslice::pack::{self, Frame, Groups, Plan};
use crate::endpointslice::{MANAGED_BY, SERVICE_NAME};

pub(super) const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// Addresses of a subset that are mirrored at most.
pub(super) const MAX: usize = 1000;
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Annotations that say something of the Endpoints only.
const NOT_COPIED: [&str; 2] =
    ["endpoints.kubernetes.io/last-change-trigger-time", "kubectl.kubernetes.io/last-applied-configuration"];

/// Addresses that are not mirrored.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Skipped {
    pub(super) invalid: usize,
    pub(super) beyond: usize,
}

/// Whether slices follow these Endpoints: nobody else makes them, and it is not wished otherwise.
pub(super) fn is_mirrored(service: Option<&Service>, endpoints: &Endpoints) -> bool {
    let meta = &endpoints.metadata;
    let skipped = meta.labels.as_ref().and_then(|labels| labels.get(SKIP)).is_some_and(|value| value == "true");
    let elects = meta.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(LEADER));
    let by_hand = service.and_then(|service| service.spec.as_ref()).is_some_and(|spec| {
        let selector = spec.selector.as_ref();
        selector.is_none_or(std::collections::BTreeMap::is_empty)
    });
    by_hand && !skipped && !elects
}

/// What becomes of the slices.
pub(super) fn plan(
    service: Option<&Service>,
    endpoints: Option<&Endpoints>,
    existing: &[Arc<EndpointSlice>],
) -> (Plan, Skipped) {
    let (mut plan, mut skipped) = (Plan::default(), Skipped::default());
    let Some(endpoints) = endpoints.filter(|endpoints| is_mirrored(service, endpoints)) else {
        plan.delete.extend(existing.iter().map(|slice| (**slice).clone()));
        return (plan, skipped);
    };
    let (mut ipv4, mut ipv6) = (Groups::new(), Groups::new());
    for subset in endpoints.subsets.iter().flatten() {
        for (is_ipv6, endpoint) in mirrored(subset, &mut skipped) {
            pack::add(if is_ipv6 { &mut ipv6 } else { &mut ipv4 }, ports(subset), endpoint);
        }
    }
    let frame = frame(endpoints);
    pack::pack(&frame, "IPv4", ipv4, existing, &mut plan);
    pack::pack(&frame, "IPv6", ipv6, existing, &mut plan);
    (plan, skipped)
}

fn frame(endpoints: &Endpoints) -> Frame {
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.into(), endpoints.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
    annotations.retain(|name, _| !NOT_COPIED.contains(&name.as_str()));
    let mut metadata = pack::metadata(endpoints, labels);
    metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    Frame { metadata, max: MAX }
}

/// The endpoints of a subset, and whether each has an address of IPv6.
fn mirrored(subset: &EndpointSubset, skipped: &mut Skipped) -> Vec<(bool, Endpoint)> {
    let ready = subset.addresses.iter().flatten().map(|address| (address, true));
    let all = ready.chain(subset.not_ready_addresses.iter().flatten().map(|address| (address, false)));
    let mut endpoints = Vec::new();
    for (address, ready) in all {
        match address.ip.parse::<IpAddr>() {
            Err(_) => skipped.invalid += 1,
            Ok(_) if endpoints.len() == MAX => skipped.beyond += 1,
            Ok(ip) => endpoints.push((ip.is_ipv6(), endpoint(address, ip, ready))),
        }
    }
    endpoints
}

fn endpoint(address: &EndpointAddress, ip: IpAddr, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![ip.to_string()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone().filter(|name| !name.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn ports(subset: &EndpointSubset) -> Vec<EndpointPort> {
    let ports = subset.ports.iter().flatten().map(|port| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
        app_protocol: port.app_protocol.clone(),
    });
    ports.collect()
}
