//! How a pod ends: containers are stopped, then the sandbox, then what it left is cleaned up, and last the API is told.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::{Action, Draft, Input, KillReason, State, Step, Verdict, restart, running};
use crate::spec::{self, Role};

/// A pod that has to end.
pub(super) struct End {
    pub(super) grace_seconds: i64,
    /// Of a pod that fails by the kubelet's decision.
    pub(super) verdict: Option<Verdict>,
    /// The API object is to go, or gone.
    pub(super) deleted: bool,
}

/// Whether and how the pod has to end.
pub(super) fn end(input: &Input<'_>) -> Option<End> {
    let meta = &input.pod.metadata;
    let deleted = meta.deletion_timestamp.is_some() || input.gone;
    let verdict = input.verdict.cloned().or_else(|| exceeded(input));
    if deleted {
        let asked = meta.deletion_grace_period_seconds.unwrap_or_else(|| spec_grace(input.pod));
        return Some(End { grace_seconds: asked.max(1), verdict, deleted });
    }
    if let Some(verdict) = verdict {
        let grace_seconds = verdict.grace_seconds.unwrap_or_else(|| spec_grace(input.pod)).max(1);
        return Some(End { grace_seconds, verdict: Some(verdict), deleted });
    }
    let told = input.last.phase.as_deref();
    if matches!(told, Some("Succeeded" | "Failed")) || restart::is_finished(input) {
        return Some(End { grace_seconds: spec_grace(input.pod).max(1), verdict: None, deleted });
    }
    None
}

pub(super) fn spec_grace(pod: &Pod) -> i64 {
    spec::pod_spec(pod).termination_grace_period_seconds.unwrap_or(30)
}

/// When `activeDeadlineSeconds` is over.
pub(super) fn deadline(input: &Input<'_>) -> Option<Timestamp> {
    let seconds = spec::pod_spec(input.pod).active_deadline_seconds?;
    let start = input.last.start_time.as_ref().map_or(input.now, |time| time.0);
    start.checked_add(SignedDuration::from_secs(seconds)).ok()
}

fn exceeded(input: &Input<'_>) -> Option<Verdict> {
    if matches!(input.last.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    let at = deadline(input).filter(|at| *at <= input.now)?;
    // What ended in time ended well; what ended later was made to.
    let late = input.observed.containers.iter().any(|record| record.finished_at.is_some_and(|ended| ended >= at));
    if restart::is_finished(input) && !late {
        return None;
    }
    Some(Verdict {
        reason: "DeadlineExceeded".to_owned(),
        message: "Pod was active on the node longer than the specified deadline".to_owned(),
        grace_seconds: None,
        disruption: false,
    })
}

pub(super) fn plan(input: &Input<'_>, end: &End, draft: &mut Draft) {
    if stop_containers(input, end, draft) || !input.progress.starting.is_empty() {
        return;
    }
    if input.progress.sandbox == Step::Doing || input.progress.volumes == Step::Doing {
        return;
    }
    if let Some(sandbox) = input.observed.sandboxes.iter().find(|sandbox| sandbox.ready) {
        step(&input.progress.stop_sandbox, input, draft, Action::StopSandbox { id: sandbox.id.clone() });
        return;
    }
    let clean_up = if end.deleted { &input.progress.remove } else { &input.progress.clean_up };
    match clean_up {
        Step::Done if end.deleted && !input.gone => step(&input.progress.delete, input, draft, Action::Delete),
        Step::Done => draft.over = true,
        step_now => step(step_now, input, draft, Action::CleanUp { all: end.deleted }),
    }
}

fn step(step: &Step, input: &Input<'_>, draft: &mut Draft, action: Action) {
    if step.is_due(input.now) {
        draft.actions.push(action);
    } else if let Some(at) = step.retry_at() {
        draft.wake(at);
    }
}

/// Main containers first, then sidecars, the last one started first. True while any is left.
fn stop_containers(input: &Input<'_>, end: &End, draft: &mut Draft) -> bool {
    let running = || input.observed.containers.iter().filter(|record| record.state == State::Running);
    let sidecars: Vec<String> = spec::containers(input.pod)
        .iter()
        .filter(|entry| entry.role == Role::Sidecar)
        .map(|entry| entry.name().to_owned())
        .collect();
    let mut others = running().filter(|record| !sidecars.contains(&record.name)).peekable();
    if others.peek().is_some() {
        for record in others {
            running::kill(input, record, KillReason::PodEnds, end.grace_seconds, draft);
        }
        return true;
    }
    for name in sidecars.iter().rev() {
        if let Some(record) = running().find(|record| record.name == *name) {
            running::kill(input, record, KillReason::PodEnds, end.grace_seconds, draft);
            return true;
        }
    }
    false
}
