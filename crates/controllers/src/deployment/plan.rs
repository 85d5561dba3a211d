//! What a Deployment's ReplicaSets are to become, and what its status says. Pure.

mod revision;
mod rolling;
mod scale;
mod sets;
mod status;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};

use sets::Sets;
pub(super) use sets::{is_recreate, replicas};
use status::Progress;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";

/// What was seen.
pub(super) struct Observed<'a> {
    pub(super) deployment: &'a Deployment,
    /// The Deployment's own sets.
    pub(super) sets: &'a [ReplicaSet],
    /// Uids of sets that have pods which are not finished.
    pub(super) populated: &'a [String],
    pub(super) now: Timestamp,
}

/// What is to be done, in this order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) create: Option<ReplicaSet>,
    /// Sets as they are to be, with the number of replicas that they have.
    pub(super) update: Vec<(ReplicaSet, i32)>,
    pub(super) delete: Vec<ReplicaSet>,
    /// The revision for the Deployment's annotation, where it differs.
    pub(super) revision: Option<String>,
    pub(super) status: DeploymentStatus,
    pub(super) again: Option<Duration>,
}

/// Decides all of it.
pub(super) fn plan(observed: &Observed<'_>) -> Plan {
    let deployment = observed.deployment;
    let mut sets = Sets::new(deployment, observed.sets);
    let mut progress = Progress::new(deployment, observed.now);
    let mut plan = Plan::default();
    if deployment.metadata.deletion_timestamp.is_some() {
        plan.status = progress.counts(&sets);
        return plan;
    }
    progress.pause();
    let resizing = deployment.spec.paused == Some(true) || sets.resized(deployment);
    if resizing {
        revision::keep(deployment, &mut sets, &mut progress, false);
        scale::scale(deployment, &mut sets);
        if deployment.spec.paused == Some(true) {
            plan.delete = revision::surplus(deployment, &sets);
        }
        plan.status = progress.counts(&sets);
    } else {
        let moved = match is_recreate(deployment) {
            true => recreate(observed, &mut sets, &mut progress),
            false => rolling::roll(deployment, &mut sets, &mut progress),
        };
        let status = progress.counts(&sets);
        if !moved && status::is_complete(deployment, &status) {
            plan.delete = revision::surplus(deployment, &sets);
        }
        plan.status = progress.rollout(&sets, status);
        plan.again = status::check_again(deployment, &plan.status, observed.now);
    }
    plan.revision = revision::of_deployment(deployment, &sets);
    let (create, update) = sets.changes(observed.sets);
    (plan.create, plan.update) = (create, update);
    plan
}

/// All old pods go before the first new one comes. True when something is still moving.
fn recreate(observed: &Observed<'_>, sets: &mut Sets, progress: &mut Progress<'_>) -> bool {
    let deployment = observed.deployment;
    revision::keep(deployment, sets, progress, false);
    let mut scaled = false;
    for set in sets.old.iter_mut().filter(|set| replicas(set) > 0) {
        sets::set_replicas(deployment, set, 0);
        scaled = true;
    }
    let populated = |set: &ReplicaSet| {
        let reported = set.status.as_ref().is_some_and(|status| status.replicas > 0);
        reported || set.metadata.uid.as_ref().is_some_and(|uid| observed.populated.contains(uid))
    };
    if scaled || sets.old.iter().any(populated) {
        return true;
    }
    revision::keep(deployment, sets, progress, true);
    match &mut sets.new {
        Some(set) if replicas(set) != sets::wanted(deployment) => {
            sets::set_replicas(deployment, set, sets::wanted(deployment));
            true
        }
        _ => false,
    }
}
