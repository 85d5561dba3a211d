//! The status of one container.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, PodStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Draft, Input, Record, State, running};
use crate::spec::{self, Entry, Role};

/// What was told last of a container.
pub(super) fn told<'a>(status: &'a PodStatus, name: &str) -> Option<&'a ContainerStatus> {
    let lists = [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().find(|status| status.name == name)
}

pub(super) fn status(input: &Input<'_>, entry: &Entry<'_>, draft: &Draft, ending: bool) -> ContainerStatus {
    let name = entry.name();
    // A start under way is told when it is done, not at each of its steps.
    let starting = input.progress.starting.contains(name);
    let mut records = input
        .observed
        .containers
        .iter()
        .filter(|record| record.name == name && !(starting && record.state == State::Created));
    let Some(newest) = records.next() else { return without_record(input, entry, ending) };
    let mut status = ContainerStatus {
        name: name.to_owned(),
        image: newest.image.clone(),
        image_id: newest.image_id.clone(),
        container_id: Some(container_id(input, &newest.id)),
        restart_count: i32::try_from(newest.attempt).unwrap_or(i32::MAX),
        state: Some(state(input, newest)),
        last_state: records.find(|record| record.state == State::Exited).map(|record| state(input, record)),
        allocated_resources: allocated(input, entry).filter(|amounts| !amounts.is_empty()),
        resources: Some(super::resize::given(input, entry)),
        ..Default::default()
    };
    if status.last_state.is_none() {
        // The attempt before may be removed already; what was told of it stays true.
        let before = told(input.last, name).filter(|old| old.restart_count == status.restart_count);
        status.last_state = before.and_then(|old| old.last_state.clone());
    }
    let is_running = newest.state == State::Running;
    let started = is_running && running::is_started(input, entry, newest);
    status.started = Some(started);
    status.ready = is_ready(input, entry, newest, started);
    if !is_running && !ending {
        wait(input, entry, draft, &mut status);
    }
    with_defaults(status)
}

/// What of the node is counted as the container's: what it asks for, unless that is more than there is.
fn allocated(input: &Input<'_>, entry: &Entry<'_>) -> Option<BTreeMap<String, Quantity>> {
    match &input.progress.refusal {
        Some(_) => super::resize::given(input, entry).requests,
        None => entry.container.resources.as_ref()?.requests.clone(),
    }
}

fn is_ready(input: &Input<'_>, entry: &Entry<'_>, record: &Record, started: bool) -> bool {
    match entry.role {
        Role::Init => record.state == State::Exited && record.exit_code == 0,
        Role::Ephemeral => false,
        _ => started && (entry.container.readiness_probe.is_none() || input.probed(record).ready == Some(true)),
    }
}

/// A container that ended and is to run again, but cannot yet, waits; its end moves to the last state.
fn wait(input: &Input<'_>, entry: &Entry<'_>, draft: &Draft, status: &mut ContainerStatus) {
    let name = entry.name();
    let waiting = if let Some(pause) = draft.crash_loop.get(name) {
        let pause = display_seconds(pause.as_secs());
        let pod = spec::display(input.pod);
        let message = format!("back-off {pause} restarting failed container={name} pod={pod}");
        Some(("CrashLoopBackOff".to_owned(), message))
    } else {
        let waiting = input.progress.waiting.get(name);
        waiting.map(|waiting| (waiting.reason.clone(), waiting.message.clone()))
    };
    let Some((reason, message)) = waiting else { return };
    if let Some(ended) = status.state.take().filter(|state| state.terminated.is_some()) {
        status.last_state = Some(ended);
    }
    status.state = Some(waiting_state(&reason, Some(message)));
}

/// 10s, 1m20s, 5m0s: as Go writes durations.
fn display_seconds(seconds: i64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, rest) => format!("{rest}s"),
        (minutes, rest) => format!("{minutes}m{rest}s"),
    }
}

fn without_record(input: &Input<'_>, entry: &Entry<'_>, ending: bool) -> ContainerStatus {
    let name = entry.name();
    let image = entry.container.image.clone().unwrap_or_default();
    let old = told(input.last, name);
    if let Some(old) = old.filter(|old| old.container_id.is_some()) {
        return lost(old, input, ending);
    }
    let waiting = input.progress.waiting.get(name);
    let state = match waiting {
        Some(waiting) => waiting_state(&waiting.reason, Some(waiting.message.clone())),
        None => waiting_state(default_reason(input, entry), None),
    };
    let started = (entry.role != Role::Init || old.is_some()).then_some(false);
    with_defaults(ContainerStatus {
        name: name.to_owned(),
        image,
        state: Some(state),
        started,
        resources: entry.container.resources.clone().filter(|r| r.limits.is_some() || r.requests.is_some()),
        ..Default::default()
    })
}

fn default_reason(input: &Input<'_>, entry: &Entry<'_>) -> &'static str {
    let has_init = spec::pod_spec(input.pod).init_containers.as_ref().is_some_and(|list| !list.is_empty());
    match entry.role {
        Role::Ephemeral => "ContainerCreating",
        _ if has_init => "PodInitializing",
        _ => "ContainerCreating",
    }
}

/// The engine knows nothing of a container that was told to be there.
fn lost(old: &ContainerStatus, input: &Input<'_>, ending: bool) -> ContainerStatus {
    let mut status = old.clone();
    status.ready = status.ready && status.state.as_ref().is_some_and(|state| state.terminated.is_some());
    let ran = status.state.as_ref().is_some_and(|state| state.running.is_some());
    if ran {
        let unknown = ContainerState {
            terminated: Some(ContainerStateTerminated {
                exit_code: 137,
                reason: Some("ContainerStatusUnknown".to_owned()),
                message: Some("The container could not be located when the pod was terminated".to_owned()),
                container_id: old.container_id.clone(),
                ..Default::default()
            }),
            ..Default::default()
        };
        status.started = Some(false);
        if ending {
            status.state = Some(unknown);
        } else {
            status.last_state = Some(unknown);
            status.state = Some(waiting_state("ContainerCreating", None));
        }
    }
    if let Some(waiting) = input.progress.waiting.get(&old.name).filter(|_| !ending) {
        status.state = Some(waiting_state(&waiting.reason, Some(waiting.message.clone())));
    }
    status
}

fn waiting_state(reason: &str, message: Option<String>) -> ContainerState {
    let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message };
    ContainerState { waiting: Some(waiting), ..Default::default() }
}

fn state(input: &Input<'_>, record: &Record) -> ContainerState {
    match record.state {
        State::Running => ContainerState {
            running: Some(ContainerStateRunning { started_at: record.started_at.map(Time) }),
            ..Default::default()
        },
        State::Created => waiting_state("ContainerCreating", None),
        State::Exited | State::Unknown => {
            let fallback = if record.exit_code == 0 { "Completed" } else { "Error" };
            let reason = if record.reason.is_empty() { fallback } else { &record.reason };
            ContainerState {
                terminated: Some(ContainerStateTerminated {
                    exit_code: record.exit_code,
                    reason: Some(reason.to_owned()),
                    message: Some(record.message.clone()).filter(|message| !message.is_empty()),
                    started_at: record.started_at.map(Time),
                    finished_at: record.finished_at.map(Time),
                    container_id: Some(container_id(input, &record.id)),
                    signal: None,
                }),
                ..Default::default()
            }
        }
    }
}

/// Upstream always writes `lastState`, if empty.
fn with_defaults(mut status: ContainerStatus) -> ContainerStatus {
    status.last_state.get_or_insert_with(ContainerState::default);
    status
}

fn container_id(input: &Input<'_>, id: &str) -> String {
    format!("{}://{id}", input.runtime)
}
