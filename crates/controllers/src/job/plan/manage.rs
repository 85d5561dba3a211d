//! Which pods are made and which are taken away.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::JobSpec;
use k8s_openapi::api::core::v1::Pod;

use super::census::{Census, number};
use super::{FAILURES, IGNORED, NewPod, Observed, Plan, is_indexed, is_suspended, waits_for_end};
use crate::common::{pods, victims};
use crate::job::backoff::{finished_at, remaining};
use crate::job::failure_policy::{Verdict, judge};
use crate::job::indexes;

/// Pods made or taken away in one go.
const BURST: usize = 500;

pub(super) fn manage(observed: &Observed<'_>, spec: &JobSpec, census: &Census<'_>, plan: &mut Plan) {
    if is_suspended(spec) {
        plan.discard.clone_from(&census.active);
        return;
    }
    let active = census.active.len();
    let wanted = wanted(spec, census);
    plan.discard = surplus(observed, spec, census, active.saturating_sub(wanted));
    if !plan.discard.is_empty() {
        return;
    }
    let leaving = if waits_for_end(spec) { usize::try_from(census.terminating).unwrap_or(0) } else { 0 };
    let missing = wanted.saturating_sub(active + leaving).min(BURST);
    if missing == 0 {
        return;
    }
    if spec.backoff_limit_per_index.is_some() {
        create_by_index(observed, spec, census, missing, plan);
        return;
    }
    let wait = plan.backoff.remaining(observed.now);
    if !wait.is_zero() {
        plan.again_after(wait);
    } else if is_indexed(spec) {
        let indexes = pending(observed, spec, census).into_iter().take(missing);
        plan.create = indexes.map(|index| NewPod { index: Some(index), ..NewPod::default() }).collect();
    } else {
        plan.create = vec![NewPod::default(); missing];
    }
}

fn wanted(spec: &JobSpec, census: &Census<'_>) -> usize {
    let parallelism = usize::try_from(spec.parallelism.unwrap_or(1)).unwrap_or(0);
    match spec.completions {
        // After the first success the others may end, and no more are made.
        None if census.succeeded > 0 => census.active.len(),
        None => parallelism,
        Some(completions) => parallelism.min(usize::try_from(completions - census.succeeded).unwrap_or(0)),
    }
}

/// Pods of indexes that are settled, or taken twice, or out of range; then the least useful ones.
fn surplus(observed: &Observed<'_>, spec: &JobSpec, census: &Census<'_>, least: usize) -> Vec<Arc<Pod>> {
    let mut ranked = census.active.clone();
    ranked.sort_by_cached_key(|pod| victims::rank(pod, &HashMap::new(), observed.now));
    let mut victims = Vec::new();
    if is_indexed(spec) {
        let (mut taken, mut keep) = (BTreeSet::new(), Vec::new());
        for pod in ranked.into_iter().rev() {
            let settled = |index: i32| {
                index >= spec.completions.unwrap_or(0)
                    || census.done.has(index)
                    || census.broken.as_ref().is_some_and(|broken| broken.has(index))
            };
            match indexes::of(&pod).filter(|index| !settled(*index) && taken.insert(*index)) {
                Some(_) => keep.push(pod),
                None => victims.push(pod),
            }
        }
        keep.reverse();
        ranked = keep;
    }
    let more = least.saturating_sub(victims.len());
    victims.extend(ranked.into_iter().take(more));
    victims.truncate(BURST);
    victims
}

/// Indexes that have no pod, in order.
fn pending(observed: &Observed<'_>, spec: &JobSpec, census: &Census<'_>) -> Vec<i32> {
    let leaving =
        observed.pods.iter().filter(|pod| waits_for_end(spec) && pods::is_terminating(pod) && !pods::is_finished(pod));
    let taken: BTreeSet<_> = census.active.iter().chain(leaving).filter_map(|pod| indexes::of(pod)).collect();
    let broken = |index: i32| census.broken.as_ref().is_some_and(|broken| broken.has(index));
    let free = |index: &i32| !taken.contains(index) && !census.done.has(*index) && !broken(*index);
    (0..spec.completions.unwrap_or(0)).filter(free).collect()
}

/// Each index waits for itself.
fn create_by_index(observed: &Observed<'_>, spec: &JobSpec, census: &Census<'_>, missing: usize, plan: &mut Plan) {
    let mut waits: BTreeMap<i32, Duration> = BTreeMap::new();
    for index in pending(observed, spec, census) {
        let last = census.last_failed.get(&index);
        let (mut failures, mut ignored) = last.map_or((0, 0), |pod| (number(pod, FAILURES), number(pod, IGNORED)));
        if let Some(pod) = last {
            let wait = remaining(failures + ignored + 1, finished_at(pod), observed.now);
            if !wait.is_zero() {
                waits.insert(index, wait);
                continue;
            }
            match judge(spec.pod_failure_policy.as_ref(), pod) {
                Verdict::Ignore => ignored += 1,
                _ => failures += 1,
            }
        }
        if plan.create.len() < missing {
            plan.create.push(NewPod { index: Some(index), failures, ignored });
        }
    }
    if let Some(wait) = waits.into_values().min() {
        plan.again_after(wait);
    }
}
