//! The status of a pod.

use k8s_openapi::api::core::v1::{ContainerStatus, HostIP, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions::{conditions, disrupted, whole_seconds};
use super::ending::End;
use super::{Draft, Input, State, containers, phase};
use crate::spec::Role;
use crate::{qos, spec};

pub(super) fn status(input: &Input<'_>, end: Option<&End>, draft: &Draft) -> PodStatus {
    let told = input.last.phase.as_deref();
    let stopped = !input.observed.containers.iter().any(|record| record.state == State::Running);
    if stopped && matches!(told, Some("Succeeded" | "Failed")) {
        // Once ended, always ended, and as told then.
        let mut ended = input.last.clone();
        if input.verdict.is_some_and(|verdict| verdict.disruption) {
            disrupted(ended.conditions.get_or_insert_default(), input);
        }
        return ended;
    }
    let entries = spec::containers(input.pod);
    let of = |wanted: fn(Role) -> bool| -> Vec<ContainerStatus> {
        let wanted = entries.iter().filter(|entry| wanted(entry.role));
        wanted.map(|entry| containers::status(input, entry, draft, end.is_some())).collect()
    };
    let init = of(|role| matches!(role, Role::Init | Role::Sidecar));
    let main = of(|role| role == Role::Main);
    let ephemeral = of(|role| role == Role::Ephemeral);
    let over = end.is_some() && stopped && input.progress.starting.is_empty();
    let failed = end.and_then(|end| end.verdict.as_ref()).filter(|_| over);
    let phase = match failed {
        Some(_) => "Failed",
        None => phase::phase(input.pod, &init, &main, over),
    };
    let ips = ips(input);
    let api = input.pod.status.as_ref();
    let start = input.last.start_time.clone().or_else(|| api.and_then(|status| status.start_time.clone()));
    PodStatus {
        phase: Some(phase.to_owned()),
        conditions: Some(conditions(input, phase, &init, &main)),
        reason: failed.map(|verdict| verdict.reason.clone()),
        message: failed.map(|verdict| verdict.message.clone()),
        start_time: Some(start.unwrap_or(Time(whole_seconds(input.now)))),
        host_ip: input.host_ips.first().cloned(),
        host_ips: Some(input.host_ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect()),
        pod_ip: ips.first().cloned(),
        pod_ips: Some(ips.into_iter().map(|ip| PodIP { ip }).collect::<Vec<_>>()).filter(|ips| !ips.is_empty()),
        qos_class: Some(qos::class(input.pod).as_str().to_owned()),
        init_container_statuses: Some(init).filter(|list| !list.is_empty()),
        container_statuses: Some(main),
        ephemeral_container_statuses: Some(ephemeral).filter(|list| !list.is_empty()),
        observed_generation: input.pod.metadata.generation,
        ..input.last.clone()
    }
}

/// A pod that ended keeps the address that was told.
fn ips(input: &Input<'_>) -> Vec<String> {
    let sandbox = input.observed.sandboxes.first();
    let has_sandbox = sandbox.is_some();
    if spec::is_host_network(input.pod) && has_sandbox {
        return input.host_ips.to_vec();
    }
    let known = sandbox.map(|sandbox| sandbox.ips.clone()).unwrap_or_default();
    if known.is_empty() && sandbox.is_none_or(|sandbox| !sandbox.ready) {
        return input.last.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect();
    }
    known
}
