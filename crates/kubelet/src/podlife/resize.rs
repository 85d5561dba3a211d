//! Resources of running containers that are to be others than those that they were given (KEP-1287).

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{Action, Draft, Input, KillReason, Record, State, containers, ending, running};
use crate::quantity;
use crate::spec::{self, Entry, Role};

/// Why a pod does not get the resources that it asks for by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// What can be another while a container runs.
const RESOURCES: [&str; 2] = ["cpu", "memory"];

/// What a container was given when it was started, or later.
pub(super) fn given(input: &Input<'_>, entry: &Entry<'_>) -> ResourceRequirements {
    let own = entry.container.resources.clone().unwrap_or_default();
    if !matches!(entry.role, Role::Main | Role::Sidecar) {
        return own;
    }
    let told = || containers::told(input.last, entry.name()).filter(|told| told.container_id.is_some());
    let known = input.progress.given.get(entry.name()).cloned();
    let known = known.or_else(|| told().and_then(|told| told.resources.clone())).unwrap_or_else(|| own.clone());
    // The same amounts in the pod's own words.
    if differing(&known, &own).is_empty() { own } else { known }
}

/// The resources whose amounts differ.
fn differing(one: &ResourceRequirements, other: &ResourceRequirements) -> Vec<&'static str> {
    let amounts = |of: &ResourceRequirements, name: &str| {
        let amount = |map: &Option<std::collections::BTreeMap<String, Quantity>>| {
            map.as_ref().and_then(|map| map.get(name)).and_then(quantity::milli)
        };
        (amount(&of.requests), amount(&of.limits))
    };
    RESOURCES.into_iter().filter(|name| amounts(one, name) != amounts(other, name)).collect()
}

/// Containers that run with other resources than the pod says, and which of them.
fn outdated<'a>(input: &'a Input<'_>) -> Vec<(Entry<'a>, &'a Record, Vec<&'static str>)> {
    let entries = spec::containers(input.pod).into_iter();
    let entries = entries.filter(|entry| matches!(entry.role, Role::Main | Role::Sidecar));
    let outdated = entries.filter_map(|entry| {
        let record = input.current(entry.name()).filter(|record| record.state == State::Running)?;
        let wanted = entry.container.resources.clone().unwrap_or_default();
        let changed = differing(&given(input, &entry), &wanted);
        (!changed.is_empty()).then_some((entry, record, changed))
    });
    outdated.collect()
}

pub(super) fn plan(input: &Input<'_>, draft: &mut Draft) {
    // One at a time: what the pod as a whole may use follows each.
    if input.progress.refusal.is_some() || !input.progress.resizing.is_empty() {
        return;
    }
    for (entry, record, changed) in outdated(input) {
        let name = entry.name();
        if input.progress.stopping.contains_key(&record.id) {
            continue;
        }
        let mut policies = entry.container.resize_policy.iter().flatten();
        let restart = policies.any(|policy| {
            policy.restart_policy == "RestartContainer" && changed.contains(&policy.resource_name.as_str())
        });
        if restart {
            running::kill(input, record, KillReason::Resized, ending::spec_grace(input.pod), draft);
            continue;
        }
        match input.progress.resize_failed.get(name).filter(|(_, retry_at)| *retry_at > input.now) {
            Some((_, retry_at)) => draft.wake(*retry_at),
            None => {
                draft.actions.push(Action::Resize { id: record.id.clone(), name: name.to_owned() });
                return;
            }
        }
    }
}

/// Condition, reason and message.
pub(super) fn conditions(input: &Input<'_>) -> Option<(&'static str, Option<&'static str>, Option<String>)> {
    let outdated = outdated(input);
    let (first, ..) = outdated.first()?;
    if let Some(refusal) = &input.progress.refusal {
        return Some(("PodResizePending", Some(refusal.reason), Some(refusal.message.clone())));
    }
    let failed = input.progress.resize_failed.get(first.name());
    Some(("PodResizeInProgress", failed.map(|_| "Error"), failed.map(|(message, _)| message.clone())))
}
