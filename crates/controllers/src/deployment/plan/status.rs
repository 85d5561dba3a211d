//! Counts and conditions.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet, ReplicaSetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::sets::{Sets, room, wanted};

const AVAILABLE: &str = "Available";
const PROGRESSING: &str = "Progressing";
const FAILURE: &str = "ReplicaFailure";
const DONE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// Collects what happens into conditions.
pub(super) struct Progress<'a> {
    deployment: &'a Deployment,
    now: Timestamp,
    conditions: Vec<DeploymentCondition>,
}

fn deadline(deployment: &Deployment) -> Option<i32> {
    deployment.spec.progress_deadline_seconds.filter(|seconds| *seconds != i32::MAX)
}

fn is(condition: &DeploymentCondition, kind: &str) -> bool {
    condition.type_.as_deref() == Some(kind)
}

fn find<'a>(conditions: &'a [DeploymentCondition], kind: &str) -> Option<&'a DeploymentCondition> {
    conditions.iter().find(|condition| is(condition, kind))
}

/// All of it is new, there, and available.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = wanted(deployment);
    [status.updated_replicas, status.replicas, status.available_replicas].iter().all(|n| n.unwrap_or(0) == wanted)
        && status.observed_generation >= deployment.metadata.generation
}

/// When to look whether the progress deadline has passed.
pub(super) fn check_again(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> Option<Duration> {
    let seconds = deadline(deployment)?;
    let condition = find(status.conditions.as_deref()?, PROGRESSING)?;
    if is_complete(deployment, status) || matches!(condition.reason.as_deref(), Some(DONE | TIMED_OUT)) {
        return None;
    }
    let passed = now.duration_since(condition.last_update_time.as_ref()?.0);
    let left = i64::from(seconds) - passed.as_secs();
    // A second more, since times in conditions are whole seconds.
    Some(Duration::from_secs(u64::try_from(left).unwrap_or(0) + 1))
}

impl<'a> Progress<'a> {
    pub(super) fn new(deployment: &'a Deployment, now: Timestamp) -> Self {
        let conditions = deployment.status.as_ref().and_then(|status| status.conditions.clone());
        Self { deployment, now, conditions: conditions.unwrap_or_default() }
    }

    /// Same status and reason: nothing new. Same status: the transition was earlier.
    fn set(&mut self, kind: &str, status: &str, reason: &str, message: String) {
        let known = find(&self.conditions, kind);
        let same = |c: &&DeploymentCondition| c.status.as_deref() == Some(status);
        if known.filter(same).is_some_and(|c| c.reason.as_deref() == Some(reason)) {
            return;
        }
        let since = known.filter(same).and_then(|c| c.last_transition_time.clone());
        self.replace(kind, status, reason, message, since);
    }

    fn replace(&mut self, kind: &str, status: &str, reason: &str, message: String, since: Option<Time>) {
        self.conditions.retain(|condition| !is(condition, kind));
        self.conditions.push(DeploymentCondition {
            type_: Some(kind.into()),
            status: Some(status.into()),
            reason: Some(reason.into()),
            message: Some(message),
            last_update_time: Some(Time(self.now)),
            last_transition_time: since.or(Some(Time(self.now))),
        });
    }

    fn reason(&self) -> Option<&str> {
        find(&self.conditions, PROGRESSING)?.reason.as_deref()
    }

    /// A paused Deployment makes no progress and is not late.
    pub(super) fn pause(&mut self) {
        if deadline(self.deployment).is_none() || self.reason() == Some(TIMED_OUT) {
            return;
        }
        let paused = self.deployment.spec.paused == Some(true);
        if paused && self.reason() != Some(PAUSED) {
            self.set(PROGRESSING, "Unknown", PAUSED, "Deployment is paused".into());
        } else if !paused && self.reason() == Some(PAUSED) {
            self.set(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed".into());
        }
    }

    /// The set of the current template was there.
    pub(super) fn found(&mut self, set: &ReplicaSet) {
        if deadline(self.deployment).is_some() && find(&self.conditions, PROGRESSING).is_none() {
            let message = format!("Found new replica set \"{}\"", name(set));
            self.set(PROGRESSING, "True", "FoundNewReplicaSet", message);
        }
    }

    /// The set of the current template is being made.
    pub(super) fn created(&mut self, set: &ReplicaSet) {
        if deadline(self.deployment).is_some() {
            let message = format!("Created new replica set \"{}\"", name(set));
            self.set(PROGRESSING, "True", "NewReplicaSetCreated", message);
        }
    }

    /// The status but for progress.
    pub(super) fn counts(&mut self, sets: &Sets) -> DeploymentStatus {
        let sum = |count: fn(&ReplicaSetStatus) -> i32| -> i32 {
            sets.all().filter_map(|set| set.status.as_ref()).map(count).sum()
        };
        let some = |number: i32| (number > 0).then_some(number);
        let available = sum(|status| status.available_replicas.unwrap_or(0));
        let old = self.deployment.status.as_ref();
        if available >= wanted(self.deployment) - room(self.deployment).1 {
            let message = "Deployment has minimum availability.".into();
            self.set(AVAILABLE, "True", "MinimumReplicasAvailable", message);
        } else {
            let message = "Deployment does not have minimum availability.".into();
            self.set(AVAILABLE, "False", "MinimumReplicasUnavailable", message);
        }
        let updated = sets.new.as_ref().and_then(|set| set.status.as_ref()).map_or(0, |status| status.replicas);
        DeploymentStatus {
            observed_generation: self.deployment.metadata.generation,
            replicas: some(sum(|status| status.replicas)),
            updated_replicas: some(updated),
            ready_replicas: some(sum(|status| status.ready_replicas.unwrap_or(0))),
            available_replicas: some(available),
            unavailable_replicas: some(sets.total() - available),
            terminating_replicas: Some(sum(|status| status.terminating_replicas.unwrap_or(0))),
            collision_count: old.and_then(|status| status.collision_count),
            conditions: Some(self.conditions.clone()),
        }
    }

    /// The status with progress.
    pub(super) fn rollout(&mut self, sets: &Sets, mut status: DeploymentStatus) -> DeploymentStatus {
        let settled = status.replicas == status.updated_replicas && self.reason() == Some(DONE);
        if deadline(self.deployment).is_none() {
            self.conditions.retain(|condition| !is(condition, PROGRESSING));
        } else if !settled {
            self.judge(sets, &status);
        }
        self.failure(sets);
        status.conditions = Some(self.conditions.clone());
        status
    }

    fn judge(&mut self, sets: &Sets, status: &DeploymentStatus) {
        let subject = match &sets.new {
            Some(set) => format!("ReplicaSet \"{}\"", name(set)),
            None => format!("Deployment \"{}\"", self.deployment.metadata.name.as_deref().unwrap_or_default()),
        };
        if is_complete(self.deployment, status) {
            self.set(PROGRESSING, "True", DONE, format!("{subject} has successfully progressed."));
        } else if progressed(self.deployment.status.as_ref(), status) {
            let known = find(&self.conditions, PROGRESSING).filter(|c| c.status.as_deref() == Some("True"));
            let since = known.and_then(|c| c.last_transition_time.clone());
            self.replace(PROGRESSING, "True", "ReplicaSetUpdated", format!("{subject} is progressing."), since);
        } else if self.is_late() {
            self.set(PROGRESSING, "False", TIMED_OUT, format!("{subject} has timed out progressing."));
        }
    }

    fn is_late(&self) -> bool {
        let Some(condition) = find(&self.conditions, PROGRESSING) else { return false };
        let (Some(seconds), Some(since)) = (deadline(self.deployment), &condition.last_update_time) else {
            return false;
        };
        match condition.reason.as_deref() {
            Some(DONE | PAUSED) => false,
            Some(TIMED_OUT) => true,
            _ => self.now.duration_since(since.0).as_secs() >= i64::from(seconds),
        }
    }

    /// What a set could not do is the Deployment's trouble too.
    fn failure(&mut self, sets: &Sets) {
        let failed = |set: &ReplicaSet| {
            let conditions = set.status.as_ref()?.conditions.as_ref()?;
            conditions.iter().find(|condition| condition.type_.as_deref() == Some(FAILURE)).cloned()
        };
        let new_first = sets.new.iter().chain(&sets.old);
        match new_first.filter_map(failed).next() {
            None => self.conditions.retain(|condition| !is(condition, FAILURE)),
            Some(condition) => {
                let (reason, message) = (condition.reason.unwrap_or_default(), condition.message.unwrap_or_default());
                self.set(FAILURE, condition.status.as_deref().unwrap_or("True"), &reason, message);
            }
        }
    }
}

fn name(set: &ReplicaSet) -> &str {
    set.metadata.name.as_deref().unwrap_or_default()
}

/// More new pods, fewer old ones, more ready or more available.
fn progressed(old: Option<&DeploymentStatus>, new: &DeploymentStatus) -> bool {
    let old = old.cloned().unwrap_or_default();
    let number = |count: Option<i32>| count.unwrap_or(0);
    let left = |status: &DeploymentStatus| number(status.replicas) - number(status.updated_replicas);
    number(new.updated_replicas) > number(old.updated_replicas)
        || left(new) < left(&old)
        || number(new.ready_replicas) > number(old.ready_replicas)
        || number(new.available_replicas) > number(old.available_replicas)
}
