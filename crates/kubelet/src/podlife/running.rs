//! What a living pod needs next: volumes, a sandbox, then its containers in their order.

use super::restart::{self, Restart, crash_backoff};
use super::{Action, Draft, Input, KillReason, Record, State};
use crate::spec::{self, Entry, Role};

pub(super) fn plan(input: &Input<'_>, draft: &mut Draft) {
    deadline(input, draft);
    prepare(input, draft);
    let Some(sandbox) = input.sandbox() else { return };
    stop_leftovers(input, &sandbox.id, draft);
    let entries = spec::containers(input.pod);
    watch_over(input, &entries, draft);
    super::resize::plan(input, draft);
    if input.progress.volumes != super::Step::Done {
        return;
    }
    if !start_init(input, &entries, draft) {
        return;
    }
    for entry in entries.iter().filter(|entry| entry.role == Role::Main || entry.role == Role::Ephemeral) {
        start(input, entry, draft);
    }
}

fn deadline(input: &Input<'_>, draft: &mut Draft) {
    if let Some(at) = super::ending::deadline(input) {
        draft.wake(at);
    }
}

/// Volumes and sandbox are made side by side.
fn prepare(input: &Input<'_>, draft: &mut Draft) {
    let progress = input.progress;
    if progress.volumes.is_due(input.now) {
        draft.actions.push(Action::SetUpVolumes);
    }
    if input.sandbox().is_none() && progress.sandbox != super::Step::Doing {
        match progress.sandbox.retry_at().filter(|at| *at > input.now) {
            Some(at) => draft.wake(at),
            None => {
                let attempt = input.observed.sandboxes.first().map_or(0, |old| old.attempt.saturating_add(1));
                draft.actions.push(Action::RunSandbox { attempt });
            }
        }
    }
    if let Some(at) = progress.volumes.retry_at().filter(|at| *at > input.now) {
        draft.wake(at);
    }
}

/// Containers of an earlier sandbox do not live on in a new one.
fn stop_leftovers(input: &Input<'_>, sandbox: &str, draft: &mut Draft) {
    let old = input.observed.containers.iter().filter(|record| record.sandbox_id != sandbox);
    for record in old.filter(|record| record.state == State::Running) {
        kill(input, record, KillReason::PodEnds, 2, draft);
    }
}

/// Running containers whose probes gave up on them, or that are no longer what the pod says.
fn watch_over(input: &Input<'_>, entries: &[Entry<'_>], draft: &mut Draft) {
    for entry in entries {
        let Some(record) = input.current(entry.name()).filter(|record| record.state == State::Running) else {
            continue;
        };
        let probed = input.probed(record);
        if let Some(probe) = probed.failed {
            kill(input, record, KillReason::Probe(probe), probe_grace(input, entry, probe), draft);
        } else if entry.role != Role::Ephemeral
            && !record.hash.is_empty()
            && record.hash != spec::hash(&entry.container)
        {
            kill(input, record, KillReason::Changed, super::ending::spec_grace(input.pod), draft);
        }
    }
}

fn probe_grace(input: &Input<'_>, entry: &Entry<'_>, probe: &str) -> i64 {
    let spec = match probe {
        "startup" => entry.container.startup_probe.as_ref(),
        _ => entry.container.liveness_probe.as_ref(),
    };
    let own = spec.and_then(|probe| probe.termination_grace_period_seconds);
    own.unwrap_or_else(|| super::ending::spec_grace(input.pod))
}

pub(super) fn kill(input: &Input<'_>, record: &Record, reason: KillReason, grace: i64, draft: &mut Draft) {
    let until = input.now.checked_add(jiff::SignedDuration::from_secs(grace)).unwrap_or(input.now);
    // A stop under way is left alone, unless it may now take noticeably less long.
    let early_enough = |earlier: &jiff::Timestamp| earlier.duration_since(until) <= jiff::SignedDuration::from_secs(1);
    if input.progress.stopping.get(&record.id).is_some_and(early_enough) {
        return;
    }
    let (id, name) = (record.id.clone(), record.name.clone());
    draft.actions.push(Action::Kill { id, name, grace_seconds: grace, reason });
}

/// Starts what is due of the init containers. True when the main containers may run.
fn start_init(input: &Input<'_>, entries: &[Entry<'_>], draft: &mut Draft) -> bool {
    let mains_began = entries.iter().any(|entry| entry.role == Role::Main && input.current(entry.name()).is_some());
    for entry in entries.iter().filter(|entry| matches!(entry.role, Role::Init | Role::Sidecar)) {
        let record = input.current(entry.name());
        match entry.role {
            Role::Sidecar => {
                start(input, entry, draft);
                let up =
                    record.is_some_and(|record| record.state == State::Running && is_started(input, entry, record));
                if !up && !mains_began {
                    return false;
                }
            }
            _ if mains_began => {}
            _ => {
                let done = record.is_some_and(|record| record.state == State::Exited && record.exit_code == 0);
                if !done {
                    start(input, entry, draft);
                    return false;
                }
            }
        }
    }
    true
}

pub(super) fn is_started(input: &Input<'_>, entry: &Entry<'_>, record: &Record) -> bool {
    entry.container.startup_probe.is_none() || input.probed(record).started == Some(true)
}

/// Starts one container if it should run and does not.
fn start(input: &Input<'_>, entry: &Entry<'_>, draft: &mut Draft) {
    let name = entry.name();
    if input.progress.starting.contains(name) {
        return;
    }
    let record = input.current(name);
    if let Some(record) = record {
        if record.state == State::Running || input.progress.stopping.contains_key(&record.id) {
            return;
        }
        if !restart::goes_on(input, entry, record) {
            return;
        }
        let ended = record.finished_at.or(record.created_at).unwrap_or(input.now);
        match crash_backoff(input.progress.backoff.get(name), ended, input.now) {
            Restart::Later { at, pause } => {
                draft.crash_loop.insert(name.to_owned(), pause);
                draft.wake(at);
                return;
            }
            Restart::Now(backoff) => {
                if !is_blocked(input, name, draft) {
                    draft.backoff.push((name.to_owned(), backoff));
                    push_start(input, name, draft);
                }
                return;
            }
        }
    }
    // Of an earlier sandbox: what was done stays done.
    if entry.role == Role::Ephemeral && input.latest(name).is_some() {
        return;
    }
    if let Some(old) = input.latest(name)
        && entry.role == Role::Main
        && old.state == State::Exited
        && !restart::goes_on(input, entry, old)
    {
        return;
    }
    if !is_blocked(input, name, draft) {
        push_start(input, name, draft);
    }
}

/// The last attempt to start it failed, and it is too early for the next.
fn is_blocked(input: &Input<'_>, name: &str, draft: &mut Draft) -> bool {
    let blocked = input.progress.waiting.get(name).filter(|waiting| waiting.retry_at > input.now);
    if let Some(waiting) = blocked {
        draft.wake(waiting.retry_at);
    }
    blocked.is_some()
}

fn push_start(input: &Input<'_>, name: &str, draft: &mut Draft) {
    draft.actions.push(Action::Start { name: name.to_owned(), attempt: input.next_attempt(name) });
    // Two dead attempts are kept at most: the last one's logs and state are still asked for.
    let dead = input.observed.containers.iter().filter(|record| {
        record.name == name && record.state != State::Running && !input.progress.removing.contains(&record.id)
    });
    for record in dead.skip(1) {
        draft.actions.push(Action::Remove { id: record.id.clone() });
    }
}
