//! Who runs, who ended, and how.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::batch::v1::{JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;

use super::{FAILURES, IGNORED, Observed, is_failed, is_indexed, is_tracked};
use crate::common::pods;
use crate::job::backoff::finished_at;
use crate::job::failure_policy::{Verdict, judge};
use crate::job::indexes::{self, Indexes};

pub(super) struct Census<'a> {
    pub(super) active: Vec<Arc<Pod>>,
    pub(super) ready: i32,
    /// Pods on their way out that have not ended.
    pub(super) terminating: i32,
    /// Pods that ended and are in no number yet.
    pub(super) new_succeeded: Vec<&'a Pod>,
    pub(super) new_failed: Vec<&'a Pod>,
    /// All that ended well; of an indexed Job, indexes.
    pub(super) succeeded: i32,
    pub(super) failed: i32,
    /// Indexes that ended well.
    pub(super) done: Indexes,
    /// Indexes that failed for good, where each has its own limit.
    pub(super) broken: Option<Indexes>,
    /// Of an index that waits for its next pod the last one that failed: it is kept, since it knows how often.
    pub(super) last_failed: BTreeMap<i32, &'a Arc<Pod>>,
}

impl<'a> Census<'a> {
    pub(super) fn take(observed: &Observed<'a>, spec: &JobSpec, status: &JobStatus) -> Self {
        let all = observed.pods;
        let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let (known_well, known_failed) =
            (uncounted.succeeded.unwrap_or_default(), uncounted.failed.unwrap_or_default());
        let knows = |list: &[String], pod: &Pod| pod.metadata.uid.as_ref().is_some_and(|uid| list.contains(uid));
        let counts = |pod: &Pod| judge(spec.pod_failure_policy.as_ref(), pod) != Verdict::Ignore;
        let tracked = || all.iter().map(|pod| &**pod).filter(|pod| is_tracked(pod));
        let well = |pod: &&Pod| pods::phase(pod) == "Succeeded" && !knows(&known_well, pod);
        let badly = |pod: &&Pod| is_failed(spec, pod) && !knows(&known_failed, pod) && counts(pod);
        let (new_succeeded, new_failed): (Vec<_>, Vec<_>) =
            (tracked().filter(well).collect(), tracked().filter(badly).collect());
        let active: Vec<_> = all.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
        let leaving = all.iter().filter(|pod| pods::is_terminating(pod) && !pods::is_finished(pod)).count();
        let mut census = Self {
            ready: count(active.iter().filter(|pod| pods::is_ready(pod)).count()),
            active,
            terminating: count(leaving),
            succeeded: status.succeeded.unwrap_or(0) + count(known_well.len()) + count(new_succeeded.len()),
            failed: status.failed.unwrap_or(0) + count(known_failed.len()) + count(new_failed.len()),
            new_succeeded,
            new_failed,
            done: Indexes::default(),
            broken: None,
            last_failed: BTreeMap::new(),
        };
        if is_indexed(spec) {
            census.take_indexes(all, spec, status);
        }
        census
    }

    fn take_indexes(&mut self, all: &'a [Arc<Pod>], spec: &JobSpec, status: &JobStatus) {
        let completions = spec.completions.unwrap_or(0);
        let valid = |pod: &Pod| indexes::of(pod).filter(|index| *index < completions);
        self.done = Indexes::parse(status.completed_indexes.as_deref().unwrap_or_default(), completions);
        let well = all.iter().filter(|pod| is_tracked(pod) && pods::phase(pod) == "Succeeded");
        well.filter_map(|pod| valid(pod)).for_each(|index| self.done.insert(index));
        self.succeeded = self.done.count();
        let Some(limit) = spec.backoff_limit_per_index else { return };
        let failed: Vec<_> = all.iter().filter(|pod| is_tracked(pod) && is_failed(spec, pod)).collect();
        let mut broken = Indexes::parse(status.failed_indexes.as_deref().unwrap_or_default(), completions);
        for pod in &failed {
            let over = match judge(spec.pod_failure_policy.as_ref(), pod) {
                Verdict::FailIndex => true,
                Verdict::Ignore => false,
                Verdict::Count | Verdict::FailJob(_) => number(pod, FAILURES) >= limit,
            };
            if let Some(index) = valid(pod).filter(|index| over && !self.done.has(*index)) {
                broken.insert(index);
            }
        }
        let running: BTreeSet<_> = self.active.iter().filter_map(|pod| indexes::of(pod)).collect();
        let rank = |pod: &Pod| (number(pod, FAILURES) + number(pod, IGNORED), finished_at(pod));
        for pod in failed {
            let Some(index) = valid(pod) else { continue };
            if self.done.has(index) || broken.has(index) || running.contains(&index) {
                continue;
            }
            let last = self.last_failed.entry(index).or_insert(pod);
            if rank(pod) > rank(last) {
                *last = pod;
            }
        }
        self.broken = Some(broken);
    }

    /// Whether the pod must stay, since it knows how often its index failed.
    pub(super) fn is_needed(&self, pod: &Pod) -> bool {
        self.last_failed.values().any(|last| last.metadata.uid == pod.metadata.uid)
    }
}

/// A number that an annotation of a pod says.
pub(super) fn number(pod: &Pod, annotation: &str) -> i32 {
    let text = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(annotation));
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

pub(super) fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
