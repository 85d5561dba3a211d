//! How many pods to make, which to take away, and what the status says. Pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::common::{pods, victims};

/// Pods made or taken away in one go.
const BURST: usize = 500;

/// What is to be done about the number of pods.
#[derive(Debug)]
pub(super) enum Action {
    Nothing,
    Create(usize),
    Delete(Vec<Arc<Pod>>),
}

pub(super) fn wanted(set: &ReplicaSet) -> usize {
    let replicas = set.spec.replicas.unwrap_or(1);
    usize::try_from(replicas).unwrap_or(0)
}

fn min_ready(set: &ReplicaSet) -> i32 {
    set.spec.min_ready_seconds.unwrap_or(0)
}

/// `active` are the set's own pods; `related` counts pods of the same owner by node, for the choice of victims.
pub(super) fn manage(
    set: &ReplicaSet,
    active: &[Arc<Pod>],
    related: &HashMap<String, usize>,
    now: Timestamp,
) -> Action {
    let wanted = wanted(set);
    if active.len() < wanted {
        return Action::Create((wanted - active.len()).min(BURST));
    }
    let surplus = (active.len() - wanted).min(BURST);
    if surplus == 0 {
        return Action::Nothing;
    }
    let mut ranked = active.to_vec();
    ranked.sort_by_cached_key(|pod| victims::rank(pod, related, now));
    ranked.truncate(surplus);
    Action::Delete(ranked)
}

/// The status that these pods give. `failure` is what went wrong just now, with its reason.
pub(super) fn status(
    set: &ReplicaSet,
    owned: &[Arc<Pod>],
    failure: Option<(&'static str, String)>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let active = || owned.iter().filter(|pod| pods::is_active(pod));
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let some = |number: usize| (number > 0).then(|| count(number));
    let template = set.spec.template.as_ref();
    let labels = template.and_then(|template| template.metadata.as_ref()?.labels.clone()).unwrap_or_default();
    let labelled = |pod: &&Arc<Pod>| {
        let own = pod.metadata.labels.as_ref();
        labels.iter().all(|(key, value)| own.and_then(|own| own.get(key)) == Some(value))
    };
    let leaving = owned.iter().filter(|pod| pods::is_terminating(pod) && !pods::is_finished(pod)).count();
    let old = set.status.clone().unwrap_or_default();
    ReplicaSetStatus {
        replicas: count(active().count()),
        fully_labeled_replicas: some(active().filter(labelled).count()),
        ready_replicas: some(active().filter(|pod| pods::is_ready(pod)).count()),
        available_replicas: some(active().filter(|pod| pods::is_available(pod, min_ready(set), now)).count()),
        terminating_replicas: Some(count(leaving)),
        observed_generation: set.metadata.generation,
        conditions: conditions(old.conditions, failure, now),
    }
}

fn conditions(
    old: Option<Vec<ReplicaSetCondition>>,
    failure: Option<(&'static str, String)>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    const KIND: &str = "ReplicaFailure";
    let mut conditions = old.unwrap_or_default();
    let known = conditions.iter().any(|condition| condition.type_.as_deref() == Some(KIND));
    match failure {
        Some((reason, message)) if !known => conditions.push(ReplicaSetCondition {
            type_: Some(KIND.into()),
            status: Some("True".into()),
            reason: Some(reason.into()),
            message: Some(message),
            last_transition_time: Some(Time(now)),
        }),
        Some(_) => {}
        None => conditions.retain(|condition| condition.type_.as_deref() != Some(KIND)),
    }
    (!conditions.is_empty()).then_some(conditions)
}

/// When the next ready pod becomes available, if nothing happens.
pub(super) fn next_available(set: &ReplicaSet, owned: &[Arc<Pod>], now: Timestamp) -> Option<Duration> {
    let seconds = min_ready(set);
    if seconds == 0 {
        return None;
    }
    let waiting = owned.iter().filter(|pod| pods::is_active(pod) && !pods::is_available(pod, seconds, now));
    waiting.filter_map(|pod| pods::becomes_available(pod, seconds, now)).min()
}
