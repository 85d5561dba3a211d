//! What becomes of a range. Pure.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

pub(super) const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
/// A range that goes is still taken from by API servers that have not heard of it: so long it stays at least.
const GRACE: Duration = Duration::from_secs(10);
const READY: &str = "Ready";

/// What is to be done with a range.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    Nothing,
    AddFinalizer,
    SetReady(Condition),
    /// Later, if nothing happens before.
    Wait(Duration),
    RemoveFinalizer,
}

pub(super) fn action(
    range: &ServiceCIDR,
    others: &[Arc<ServiceCIDR>],
    addresses: &[Arc<IPAddress>],
    now: Timestamp,
) -> Action {
    let held = range.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
    let Some(deleted) = &range.metadata.deletion_timestamp else {
        if !held {
            return Action::AddFinalizer;
        }
        return ready(range, "True", "", "Kubernetes Service CIDR is ready", now);
    };
    if !held {
        return Action::Nothing;
    }
    if is_needed(range, others, addresses) {
        let why =
            "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
        return ready(range, "False", "Terminating", why, now);
    }
    let passed = Duration::try_from(now.duration_since(deleted.0)).unwrap_or_default();
    match GRACE.checked_sub(passed).filter(|left| !left.is_zero()) {
        Some(left) => Action::Wait(left),
        None => Action::RemoveFinalizer,
    }
}

/// The condition, unless it stands there already.
fn ready(range: &ServiceCIDR, status: &str, reason: &str, message: &str, now: Timestamp) -> Action {
    let mut conditions = range.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let said = conditions.find(|condition| condition.type_ == READY);
    if said.is_some_and(|said| said.status == status && said.reason == reason) {
        return Action::Nothing;
    }
    Action::SetReady(Condition {
        type_: READY.into(),
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
        last_transition_time: Time(now),
        observed_generation: None,
    })
}

fn networks(range: &ServiceCIDR) -> impl Iterator<Item = IpNet> {
    range.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten()).filter_map(|cidr| cidr.parse().ok())
}

/// The address, when it is one that API servers have given to a Service.
pub(super) fn given(address: &IPAddress) -> Option<IpAddr> {
    address.metadata.name.as_ref()?.parse().ok()
}

/// Whether an address would be in no range any more.
fn is_needed(range: &ServiceCIDR, others: &[Arc<ServiceCIDR>], addresses: &[Arc<IPAddress>]) -> bool {
    let staying = |other: &&Arc<ServiceCIDR>| {
        other.metadata.deletion_timestamp.is_none() && other.metadata.name != range.metadata.name
    };
    let staying: Vec<IpNet> = others.iter().filter(staying).flat_map(|other| networks(other)).collect();
    let own: Vec<IpNet> = networks(range).collect();
    let among = |networks: &[IpNet], ip: &IpAddr| networks.iter().any(|network| network.contains(ip));
    addresses.iter().filter_map(|address| given(address)).any(|ip| among(&own, &ip) && !among(&staying, &ip))
}
