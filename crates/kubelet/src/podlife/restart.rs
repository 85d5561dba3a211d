//! When a container that ended runs again.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::{Input, Record, State};
use crate::spec::{self, Entry, Role};

const FIRST: SignedDuration = SignedDuration::from_secs(10);
const LONGEST: SignedDuration = SignedDuration::from_secs(300);

/// The pause before the next restart of a container; grows with each, until it ran well for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CrashBackoff {
    pub(crate) pause: SignedDuration,
    /// When the pause was last set: at the latest restart.
    pub(crate) set_at: Timestamp,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Restart {
    /// Now; the pause after the next end is this.
    Now(CrashBackoff),
    /// Not before this time, after a pause of this length.
    Later { at: Timestamp, pause: SignedDuration },
}

/// The first restart is at once, the next after 10 s, doubled up to 5 min. An end more than 10 min after the latest
/// restart counts as a first one.
pub(super) fn crash_backoff(state: Option<&CrashBackoff>, ended: Timestamp, now: Timestamp) -> Restart {
    let Some(state) = state else { return Restart::Now(CrashBackoff { pause: FIRST, set_at: now }) };
    let run = ended.duration_since(state.set_at);
    if run <= LONGEST * 2 {
        let since = now.duration_since(ended);
        if since < state.pause {
            let at = ended.checked_add(state.pause).unwrap_or(now);
            return Restart::Later { at, pause: state.pause };
        }
    }
    let pause = if run > LONGEST * 2 { FIRST } else { (state.pause * 2).min(LONGEST) };
    Restart::Now(CrashBackoff { pause, set_at: now })
}

/// Whether a container that ended is to run again while its pod lives on.
pub(super) fn runs_again(pod: &Pod, entry: &Entry<'_>, record: &Record) -> bool {
    if record.state == State::Created || record.state == State::Unknown {
        return entry.role != Role::Ephemeral;
    }
    match entry.role {
        Role::Ephemeral => false,
        Role::Sidecar => true,
        Role::Init => record.exit_code != 0 && spec::restart_policy(pod) != "Never",
        Role::Main => {
            // A container may have a policy of its own, and rules that go before it.
            if let Some(action) = rule(entry, record.exit_code) {
                return action;
            }
            let own = entry.container.restart_policy.as_deref();
            match own.unwrap_or_else(|| spec::restart_policy(pod)) {
                "Always" => true,
                "OnFailure" => record.exit_code != 0,
                _ => false,
            }
        }
    }
}

/// The same for a container that may have been stopped just to run again.
pub(super) fn goes_on(input: &Input<'_>, entry: &Entry<'_>, record: &Record) -> bool {
    input.progress.restarts.contains(&record.id) || runs_again(input.pod, entry, record)
}

fn rule(entry: &Entry<'_>, exit_code: i32) -> Option<bool> {
    let rules = entry.container.restart_policy_rules.as_ref()?;
    let matching = rules.iter().find(|rule| {
        rule.exit_codes.as_ref().is_some_and(|codes| {
            let listed = codes.values.iter().flatten().any(|code| *code == exit_code);
            if codes.operator == "In" { listed } else { !listed }
        })
    })?;
    Some(matching.action == "Restart")
}

/// All main containers have ended and none runs again.
pub(super) fn is_finished(input: &Input<'_>) -> bool {
    let entries = spec::containers(input.pod);
    let mut mains = entries.iter().filter(|entry| entry.role == Role::Main).peekable();
    if mains.peek().is_none() {
        return false;
    }
    let failed_init = entries.iter().filter(|entry| entry.role == Role::Init).any(|entry| {
        input.latest(entry.name()).is_some_and(|record| {
            record.state == State::Exited && record.exit_code != 0 && !goes_on(input, entry, record)
        })
    });
    let mut ended = mains.map(|entry| {
        let record = input.latest(entry.name());
        record.is_some_and(|record| record.state == State::Exited && !goes_on(input, entry, record))
    });
    failed_init || ended.all(|ended| ended)
}
