//! How many healthy pods a budget needs and has. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::common::{owner, pods, share};

/// A pod that was to be evicted and is still there after this was not.
const PATIENCE: Duration = Duration::from_secs(120);
const ALLOWED: &str = "DisruptionAllowed";

/// How many pods a controller wants, and which controller that is: the one at the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scale {
    pub(super) uid: String,
    pub(super) replicas: i32,
}

/// What there is to do.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) status: PodDisruptionBudgetStatus,
    /// Pods that were to be evicted and were not.
    pub(super) stayed: Vec<Arc<Pod>>,
    pub(super) again: Option<Duration>,
}

/// Whether a budget needs to know how many pods controllers want.
pub(super) fn needs_scales(budget: &PodDisruptionBudget) -> bool {
    budget.spec.as_ref().is_some_and(|spec| {
        spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)))
    })
}

/// `scales` by the uid of a pod's controller.
pub(super) fn plan(
    budget: &PodDisruptionBudget,
    selected: &[Arc<Pod>],
    scales: &BTreeMap<String, Scale>,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan { status: budget.status.clone().unwrap_or_default(), stayed: Vec::new(), again: None };
    let disrupted = disrupted(selected, &mut plan, now);
    let healthy = selected.iter().filter(|pod| {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        !pods::is_terminating(pod) && pods::is_ready(pod) && !disrupted.contains_key(name)
    });
    let healthy = count(healthy.count());
    let (expected, desired) = desired(budget, selected, scales);
    let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
    let status = &mut plan.status;
    status.observed_generation = budget.metadata.generation;
    status.current_healthy = Some(healthy);
    status.desired_healthy = Some(desired);
    status.expected_pods = Some(expected);
    status.disruptions_allowed = Some(allowed);
    status.disrupted_pods = Some(disrupted).filter(|disrupted| !disrupted.is_empty());
    let (value, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    set_condition(status, value, reason, "", budget.metadata.generation, now);
    plan
}

/// A status that allows nothing, since something could not be found out.
pub(super) fn failed(budget: &PodDisruptionBudget, why: &str, now: Timestamp) -> PodDisruptionBudgetStatus {
    let mut status = budget.status.clone().unwrap_or_default();
    status.observed_generation = budget.metadata.generation;
    status.disruptions_allowed = Some(0);
    set_condition(&mut status, "False", "SyncFailed", why, budget.metadata.generation, now);
    status
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Pods that there should be, and healthy ones that there must be.
fn desired(budget: &PodDisruptionBudget, selected: &[Arc<Pod>], scales: &BTreeMap<String, Scale>) -> (i32, i32) {
    let Some(spec) = &budget.spec else { return (0, 0) };
    if !needs_scales(budget) {
        let least = match &spec.min_available {
            Some(IntOrString::Int(number)) => *number,
            _ => 0,
        };
        return (count(selected.len()), least);
    }
    let mut seen = BTreeSet::new();
    let controllers = selected.iter().filter_map(|pod| owner::controller_of(&pod.metadata));
    let wanted = controllers.filter_map(|owner| scales.get(&owner.uid)).filter(|scale| seen.insert(scale.uid.as_str()));
    let expected = wanted.map(|scale| scale.replicas).fold(0, i32::saturating_add);
    let part = |amount: &IntOrString| count(share::rounded_up(amount, usize::try_from(expected).unwrap_or(0)));
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(most), _) => (expected, (expected - part(most)).max(0)),
        (None, Some(least)) => (expected, part(least)),
        (None, None) => (expected, 0),
    }
}

/// Pods whose eviction was granted and that have not gone yet.
fn disrupted(selected: &[Arc<Pod>], plan: &mut Plan, now: Timestamp) -> BTreeMap<String, Time> {
    let mut left = plan.status.disrupted_pods.take().unwrap_or_default();
    left.retain(|name, since| {
        let pod = selected.iter().find(|pod| pod.metadata.name.as_ref() == Some(name));
        let Some(pod) = pod.filter(|pod| !pods::is_terminating(pod)) else { return false };
        let passed = Duration::try_from(now.duration_since(since.0)).unwrap_or_default();
        let wait = PATIENCE.saturating_sub(passed);
        if wait.is_zero() {
            plan.stayed.push(Arc::clone(pod));
            return false;
        }
        plan.again = Some(plan.again.map_or(wait, |again| again.min(wait)));
        true
    });
    left
}

fn set_condition(
    status: &mut PodDisruptionBudgetStatus,
    value: &str,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let conditions = status.conditions.get_or_insert_default();
    let before = conditions.iter().find(|condition| condition.type_ == ALLOWED && condition.status == value);
    let since = before.map_or(Time(now), |condition| condition.last_transition_time.clone());
    conditions.retain(|condition| condition.type_ != ALLOWED);
    conditions.push(Condition {
        type_: ALLOWED.to_owned(),
        status: value.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: generation,
        last_transition_time: since,
    });
}
