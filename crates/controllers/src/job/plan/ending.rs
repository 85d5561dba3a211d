//! Whether a Job is over, and why.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobSpec, JobStatus, SuccessPolicyRule};
use k8s_openapi::api::core::v1::Pod;

use super::census::Census;
use super::status::condition;
use super::{Observed, is_failed, is_indexed, is_suspended};
use crate::common::pods;
use crate::job::failure_policy::{Verdict, judge};
use crate::job::indexes::Indexes;

/// Why a Job is over. It ends once its last pod has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) well: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Ending {
    fn new(well: bool, reason: &str, message: impl Into<String>) -> Self {
        Self { well, reason: reason.to_owned(), message: message.into() }
    }

    fn failure(reason: &str, message: impl Into<String>) -> Self {
        Self::new(false, reason, message)
    }
}

/// What was said before, else the first reason that holds.
pub(super) fn find(observed: &Observed<'_>, spec: &JobSpec, status: &JobStatus, census: &Census<'_>) -> Option<Ending> {
    for (kind, well) in [("SuccessCriteriaMet", true), ("FailureTarget", false)] {
        if let Some(said) = condition(status, kind) {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            return Some(Ending { well, reason: text(&said.reason), message: text(&said.message) });
        }
    }
    by_rule(observed, spec)
        .or_else(|| by_limit(observed, spec, status, census))
        .or_else(|| by_index(spec, census))
        .or_else(|| by_success_policy(spec, census))
}

fn by_rule(observed: &Observed<'_>, spec: &JobSpec) -> Option<Ending> {
    let policy = spec.pod_failure_policy.as_ref()?;
    let failed = observed.pods.iter().filter(|pod| is_failed(spec, pod));
    let mut verdicts = failed.map(|pod| judge(Some(policy), pod));
    verdicts.find_map(|verdict| match verdict {
        Verdict::FailJob(why) => Some(Ending::failure("PodFailurePolicy", why)),
        _ => None,
    })
}

fn by_limit(observed: &Observed<'_>, spec: &JobSpec, status: &JobStatus, census: &Census<'_>) -> Option<Ending> {
    let default = if spec.backoff_limit_per_index.is_some() { i32::MAX } else { 6 };
    let limit = spec.backoff_limit.unwrap_or(default);
    if census.failed > limit || restarts_pass(observed, spec, limit) {
        return Some(Ending::failure("BackoffLimitExceeded", "Job has reached the specified backoff limit"));
    }
    let left = until_deadline(spec, status, observed.now)?;
    left.is_zero().then(|| Ending::failure("DeadlineExceeded", "Job was active longer than specified deadline"))
}

/// Where containers are started again in place, their restarts count.
fn restarts_pass(observed: &Observed<'_>, spec: &JobSpec, limit: i32) -> bool {
    let policy = spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    if policy != Some("OnFailure") {
        return false;
    }
    let alive = observed.pods.iter().filter(|pod| matches!(pods::phase(pod), "Running" | "Pending"));
    let total: i32 = alive.map(|pod| restarts(pod)).fold(0, i32::saturating_add);
    if limit == 0 { total > 0 } else { total >= limit }
}

fn restarts(pod: &Pod) -> i32 {
    let Some(status) = &pod.status else { return 0 };
    let all = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    all.map(|container| container.restart_count).fold(0, i32::saturating_add)
}

/// How long the Job may still be active; none without a deadline.
pub(super) fn until_deadline(spec: &JobSpec, status: &JobStatus, now: Timestamp) -> Option<Duration> {
    let seconds = u64::try_from(spec.active_deadline_seconds.filter(|_| !is_suspended(spec))?).ok()?;
    let passed = Duration::try_from(now.duration_since(status.start_time.as_ref()?.0)).unwrap_or_default();
    Some(Duration::from_secs(seconds).saturating_sub(passed))
}

fn by_index(spec: &JobSpec, census: &Census<'_>) -> Option<Ending> {
    let broken = census.broken.as_ref()?.count();
    if spec.max_failed_indexes.is_some_and(|most| broken > most) {
        let why = "Job has exceeded the specified maximal number of failed indexes";
        return Some(Ending::failure("MaxFailedIndexesExceeded", why));
    }
    let all = broken > 0 && broken.saturating_add(census.succeeded) >= spec.completions.unwrap_or(0);
    all.then(|| Ending::failure("FailedIndexes", "Job has failed indexes"))
}

fn by_success_policy(spec: &JobSpec, census: &Census<'_>) -> Option<Ending> {
    let policy = spec.success_policy.as_ref().filter(|_| is_indexed(spec))?;
    let number = policy.rules.iter().position(|rule| is_met(rule, spec, census))?;
    Some(Ending::new(true, "SuccessPolicy", format!("Matched rules at index {number}")))
}

fn is_met(rule: &SuccessPolicyRule, spec: &JobSpec, census: &Census<'_>) -> bool {
    let wanted = rule.succeeded_indexes.as_deref();
    let wanted = wanted.map(|text| Indexes::parse(text, spec.completions.unwrap_or(0)));
    let done = match &wanted {
        Some(wanted) => {
            i32::try_from(wanted.iter().filter(|index| census.done.has(*index)).count()).unwrap_or(i32::MAX)
        }
        None => census.done.count(),
    };
    let enough = rule.succeeded_count.or_else(|| wanted.as_ref().map(Indexes::count));
    enough.is_some_and(|enough| done >= enough)
}

/// Whether enough pods ended well; asked when none is active.
pub(super) fn completed(spec: &JobSpec, census: &Census<'_>) -> Option<Ending> {
    let complete = match spec.completions {
        None => census.succeeded > 0,
        Some(completions) => census.succeeded >= completions,
    };
    complete.then(|| Ending::new(true, "CompletionsReached", "Reached expected number of succeeded pods"))
}
