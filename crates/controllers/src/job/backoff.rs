//! How long a Job waits after failures. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::common::pods;

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(600);

/// Failures of a Job since the last pod that succeeded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    pub(super) failures: i32,
    pub(super) last: Option<Timestamp>,
}

impl Backoff {
    /// The record after these pods ended.
    pub(super) fn after(self, succeeded: &[&Pod], failed: &[&Pod]) -> Self {
        let last_success = succeeded.iter().map(|pod| finished_at(pod)).max();
        let since = |pod: &&&Pod| last_success.is_none_or(|success| finished_at(pod) > success);
        let count = i32::try_from(failed.iter().filter(since).count()).unwrap_or(i32::MAX);
        let last = failed.iter().filter(since).map(|pod| finished_at(pod)).max();
        match last_success {
            Some(_) => Self { failures: count, last },
            None => Self { failures: self.failures.saturating_add(count), last: last.or(self.last) },
        }
    }

    /// What is left to wait.
    pub(super) fn remaining(self, now: Timestamp) -> Duration {
        self.last.map_or(Duration::ZERO, |last| remaining(self.failures, last, now))
    }
}

/// Ten seconds after the first failure, twice as long after each further one.
pub(super) fn remaining(failures: i32, last: Timestamp, now: Timestamp) -> Duration {
    let Some(doublings) = u32::try_from(failures).ok().and_then(|count| count.checked_sub(1)) else {
        return Duration::ZERO;
    };
    let wait = FIRST.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST);
    let passed = Duration::try_from(now.duration_since(last)).unwrap_or_default();
    wait.saturating_sub(passed)
}

/// When a pod ended: by its containers, else by when it stopped being ready, else by when its deletion was asked for.
pub(super) fn finished_at(pod: &Pod) -> Timestamp {
    let by_containers = || {
        let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
        let ends = statuses.iter().map(end_of).collect::<Option<Vec<_>>>()?;
        ends.into_iter().max()
    };
    let by_readiness = || {
        let condition = pods::condition(pod, "Ready").filter(|condition| condition.status == "False")?;
        condition.last_transition_time.as_ref().map(|time| time.0)
    };
    let by_deletion = || {
        let grace = SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(0));
        pod.metadata.deletion_timestamp.as_ref()?.0.checked_sub(grace).ok()
    };
    let created = || pod.metadata.creation_timestamp.as_ref().map(|time| time.0).unwrap_or_default();
    by_containers().or_else(by_readiness).or_else(by_deletion).unwrap_or_else(created)
}

fn end_of(status: &ContainerStatus) -> Option<Timestamp> {
    let ended = status.state.as_ref()?.terminated.as_ref()?;
    ended.finished_at.as_ref().map(|time| time.0)
}
