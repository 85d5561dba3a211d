//! What a Job does next, and what its status says. Pure.
//!
//! A pod that ended is counted once: first its uid goes into `status.uncountedTerminatedPods`, then its finalizer goes,
//! then the number. Whatever is interrupted is taken up where it was.

mod census;
mod ending;
mod manage;
mod status;

use std::sync::Arc;
use std::time::Duration;

use client::EventType;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;

use super::backoff::Backoff;
use crate::common::pods;
use census::Census;
pub(crate) use status::is_finished;

/// Finalizer of pods that are not counted yet.
pub(super) const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// Annotation: failures of the index before this pod that count.
pub(super) const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// Annotation: failures of the index before this pod that do not count.
pub(super) const IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// What is looked at.
pub(super) struct Observed<'a> {
    pub(super) job: &'a Job,
    /// The Job's own pods.
    pub(super) pods: &'a [Arc<Pod>],
    /// Whether the pods are all there are: everything that was asked for was seen.
    pub(super) trusted: bool,
    pub(super) backoff: Backoff,
    pub(super) now: Timestamp,
}

/// A pod to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NewPod {
    pub(super) index: Option<i32>,
    pub(super) failures: i32,
    pub(super) ignored: i32,
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Happening {
    pub(super) kind: EventType,
    pub(super) reason: String,
    pub(super) message: String,
}

/// What is to be done, in this order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Pods that go without being counted.
    pub(super) discard: Vec<Arc<Pod>>,
    /// Pods that go because the Job is over.
    pub(super) end: Vec<Arc<Pod>>,
    pub(super) create: Vec<NewPod>,
    /// To be written before any finalizer goes. What is made is not in `active` yet.
    pub(super) status: JobStatus,
    pub(super) untrack: Vec<Arc<Pod>>,
    pub(super) events: Vec<Happening>,
    /// What is remembered once the status is written.
    pub(super) backoff: Backoff,
    pub(super) again: Option<Duration>,
}

impl Plan {
    fn tell(&mut self, kind: EventType, reason: &str, message: &str) {
        self.events.push(Happening { kind, reason: reason.to_owned(), message: message.to_owned() });
    }

    fn again_after(&mut self, wait: Duration) {
        self.again = Some(self.again.map_or(wait, |before| before.min(wait)));
    }
}

pub(super) fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|name| name == TRACKING)
}

fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

fn is_suspended(spec: &JobSpec) -> bool {
    spec.suspend == Some(true)
}

/// Whether a pod is replaced only once it has ended, not as soon as it is on its way out.
fn waits_for_end(spec: &JobSpec) -> bool {
    spec.pod_failure_policy.is_some() || spec.pod_replacement_policy.as_deref() == Some("Failed")
}

fn is_failed(spec: &JobSpec, pod: &Pod) -> bool {
    let phase = pods::phase(pod);
    phase == "Failed" || (!waits_for_end(spec) && pods::is_terminating(pod) && phase != "Succeeded")
}

pub(super) fn plan(observed: &Observed<'_>) -> Plan {
    let Some(spec) = observed.job.spec.as_ref() else { return Plan::default() };
    let mut status = observed.job.status.clone().unwrap_or_default();
    status::settle(&mut status, observed.pods);
    let mut plan = Plan::default();
    if status.start_time.is_none() && !is_suspended(spec) {
        status.start_time = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(observed.now));
    }
    let census = Census::take(observed, spec, &status);
    plan.backoff = observed.backoff.after(&census.new_succeeded, &census.new_failed);
    let mut ending = ending::find(observed, spec, &status, &census);
    let mut active = census.active.len();
    if ending.is_some() {
        plan.end.clone_from(&census.active);
        active = 0;
    } else if observed.trusted && observed.job.metadata.deletion_timestamp.is_none() {
        manage::manage(observed, spec, &census, &mut plan);
        active = active.saturating_sub(plan.discard.len());
        if plan.create.is_empty() && active == 0 {
            ending = ending::completed(spec, &census);
        }
        if ending.is_none() {
            status::suspension(&mut status, spec, &mut plan, observed.now);
        }
    }
    if let (None, Some(wait)) = (&ending, ending::until_deadline(spec, &status, observed.now)) {
        plan.again_after(wait);
    }
    status.active = Some(i32::try_from(active).unwrap_or(i32::MAX)).filter(|active| *active > 0);
    status.ready = Some(if ending.is_some() { 0 } else { census.ready });
    status.terminating = Some(census.terminating);
    status::track(observed, spec, &census, ending.as_ref(), &mut status, &mut plan);
    if let Some(ending) = &ending {
        status::enact(&mut status, ending, &census, &mut plan, observed.now);
    }
    plan.status = status;
    plan
}
