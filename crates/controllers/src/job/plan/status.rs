//! Conditions and numbers of a Job.

use std::collections::HashSet;
use std::sync::Arc;

use client::EventType;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::census::Census;
use super::ending::Ending;
use super::{Observed, Plan, is_failed, is_indexed, is_suspended, is_tracked};
use crate::common::pods;
use crate::job::failure_policy::{Verdict, judge};
use crate::job::indexes;

/// Uids that wait to be counted at most.
const UNCOUNTED: usize = 500;

/// A condition that is true.
pub(super) fn condition<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    let mut all = status.conditions.iter().flatten();
    all.find(|condition| condition.type_ == kind && condition.status == "True")
}

/// Whether a Job has ended, and if so, whether well.
pub(crate) fn is_finished(job: &Job) -> Option<bool> {
    let status = job.status.as_ref()?;
    let is = |kind| condition(status, kind).is_some();
    if is("Complete") { Some(true) } else { is("Failed").then_some(false) }
}

/// Counts pods whose finalizer has gone since their uid was noted.
pub(super) fn settle(status: &mut JobStatus, pods: &[Arc<Pod>]) {
    let tracked: HashSet<_> =
        pods.iter().filter(|pod| is_tracked(pod)).filter_map(|pod| pod.metadata.uid.as_ref()).collect();
    let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
    for (list, number) in
        [(&mut uncounted.succeeded, &mut status.succeeded), (&mut uncounted.failed, &mut status.failed)]
    {
        let noted = list.take().unwrap_or_default();
        let before = noted.len();
        let left: Vec<_> = noted.into_iter().filter(|uid| tracked.contains(uid)).collect();
        let counted = i32::try_from(before - left.len()).unwrap_or(i32::MAX);
        let sum = number.unwrap_or(0).saturating_add(counted);
        *number = Some(sum).filter(|sum| *sum > 0);
        *list = Some(left).filter(|left| !left.is_empty());
    }
}

/// Notes pods that ended, and says whose finalizer may go after that.
pub(super) fn track(
    observed: &Observed<'_>,
    spec: &JobSpec,
    census: &Census<'_>,
    ending: Option<&Ending>,
    status: &mut JobStatus,
    plan: &mut Plan,
) {
    let indexed = is_indexed(spec);
    if indexed {
        status.completed_indexes = Some(census.done.text()).filter(|text| !text.is_empty());
        status.succeeded = Some(census.done.count()).filter(|count| *count > 0);
        status.failed_indexes = census.broken.as_ref().map(indexes::Indexes::text);
    }
    let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
    let mut room = UNCOUNTED.saturating_sub(plan.discard.len());
    let over = ending.is_some() || observed.job.metadata.deletion_timestamp.is_some();
    let discarded = |pod: &Pod| plan.discard.iter().any(|other| other.metadata.uid == pod.metadata.uid);
    for pod in observed.pods.iter().filter(|pod| is_tracked(pod) && !discarded(pod)) {
        let (well, failed) = (pods::phase(pod) == "Succeeded", is_failed(spec, pod));
        if !(over || well || (failed && !census.is_needed(pod))) || room == 0 {
            continue;
        }
        room -= 1;
        plan.untrack.push(Arc::clone(pod));
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        // With a Job that failed all its pods do.
        let failed = failed || ending.is_some_and(|ending| !ending.well);
        if well && !indexed {
            note(&mut uncounted.succeeded, uid);
        } else if !well && failed && judge(spec.pod_failure_policy.as_ref(), pod) != Verdict::Ignore {
            note(&mut uncounted.failed, uid);
        }
    }
}

fn note(list: &mut Option<Vec<String>>, uid: String) {
    let list = list.get_or_insert_default();
    if !list.contains(&uid) {
        list.push(uid);
    }
}

/// Says that the Job is suspended, or goes on after it was.
pub(super) fn suspension(status: &mut JobStatus, spec: &JobSpec, plan: &mut Plan, now: Timestamp) {
    let before = status.conditions.iter().flatten().find(|condition| condition.type_ == "Suspended");
    let was = before.map(|condition| condition.status == "True");
    match (is_suspended(spec), was) {
        (true, None | Some(false)) => {
            set(status, "Suspended", "True", ("JobSuspended", "Job suspended"), now);
            plan.tell(EventType::Normal, "Suspended", "Job suspended");
        }
        (false, Some(true)) => {
            set(status, "Suspended", "False", ("JobResumed", "Job resumed"), now);
            plan.tell(EventType::Normal, "Resumed", "Job resumed");
            status.start_time = Some(Time(now));
        }
        _ => {}
    }
}

/// Says that the Job is over, first that it will be, and once its last pod is gone and counted, that it is.
pub(super) fn enact(status: &mut JobStatus, ending: &Ending, census: &Census<'_>, plan: &mut Plan, now: Timestamp) {
    let why = (ending.reason.as_str(), ending.message.as_str());
    let (soon, last) = if ending.well { ("SuccessCriteriaMet", "Complete") } else { ("FailureTarget", "Failed") };
    if condition(status, soon).is_none() {
        set(status, soon, "True", why, now);
    }
    let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
    let counted = uncounted.succeeded.is_none() && uncounted.failed.is_none() && plan.untrack.is_empty();
    if !counted || !census.active.is_empty() || census.terminating > 0 {
        return;
    }
    set(status, last, "True", why, now);
    if ending.well {
        status.completion_time = Some(Time(now));
        plan.tell(EventType::Normal, "Completed", "Job completed");
    } else {
        plan.tell(EventType::Warning, why.0, why.1);
    }
}

fn set(status: &mut JobStatus, kind: &str, value: &str, (reason, message): (&str, &str), now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != kind);
    conditions.push(JobCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    });
}
