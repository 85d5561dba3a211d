//! Which pod of a StatefulSet comes or goes next, and what the status says. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::identity::{ordinal, revision};
use crate::common::{pods, share};

/// What is looked at.
pub(super) struct Observed<'a> {
    pub(super) set: &'a StatefulSet,
    pub(super) pods: &'a [Arc<Pod>],
    /// Name of the revision that all pods had last.
    pub(super) current: &'a str,
    /// Name of the revision that they are to have.
    pub(super) update: &'a str,
    pub(super) now: Timestamp,
}

/// A pod to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NewPod {
    pub(super) ordinal: i32,
    /// Whether by the current revision, not by the updated one.
    pub(super) current: bool,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) create: Vec<NewPod>,
    pub(super) delete: Vec<Arc<Pod>>,
    /// Pods that ended, and are deleted to be made anew.
    pub(super) replace: Vec<Arc<Pod>>,
    /// Pods beyond the number of replicas, whether deleted now or later.
    pub(super) condemned: Vec<Arc<Pod>>,
    pub(super) status: StatefulSetStatus,
    pub(super) again: Option<Duration>,
}

fn is_healthy(pod: &Pod) -> bool {
    pods::phase(pod) == "Running" && pods::is_ready(pod) && !pods::is_terminating(pod)
}

struct Set<'a> {
    observed: &'a Observed<'a>,
    spec: &'a StatefulSetSpec,
    start: i32,
    replicas: i32,
    /// The pods by their numbers.
    members: BTreeMap<i32, &'a Arc<Pod>>,
}

pub(super) fn plan(observed: &Observed<'_>) -> Plan {
    let spec = &observed.set.spec;
    let start = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0);
    let numbered = observed.pods.iter().filter_map(|pod| Some((ordinal(observed.set, pod)?, pod)));
    let replicas = spec.replicas.unwrap_or(1);
    let set = Set { observed, spec, start, replicas, members: numbered.collect() };
    let mut plan = Plan { status: set.status(), again: set.next_available(), ..Plan::default() };
    let outside = set.members.iter().filter(|(number, _)| !set.wants(**number));
    plan.condemned = outside.rev().map(|(_, pod)| Arc::clone(pod)).collect();
    if observed.set.metadata.deletion_timestamp.is_none() && set.fill(&mut plan) && set.shrink(&mut plan) {
        set.roll(&mut plan);
    }
    plan
}

impl Set<'_> {
    fn wants(&self, number: i32) -> bool {
        number >= self.start && number < self.start.saturating_add(self.replicas)
    }

    fn in_order(&self) -> bool {
        self.spec.pod_management_policy.as_deref() != Some("Parallel")
    }

    fn min_ready(&self) -> i32 {
        self.spec.min_ready_seconds.unwrap_or(0)
    }

    fn is_available(&self, pod: &Pod) -> bool {
        pods::is_available(pod, self.min_ready(), self.observed.now)
    }

    fn partition(&self) -> Option<i32> {
        let strategy = self.spec.update_strategy.as_ref()?;
        strategy.rolling_update.as_ref().and_then(|rolling| rolling.partition)
    }

    fn rolls(&self) -> bool {
        let strategy = self.spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
        strategy != Some("OnDelete")
    }

    /// Whether a new pod of this number is made by the current revision.
    fn by_current(&self, number: i32) -> bool {
        self.rolls() && number < self.start.saturating_add(self.partition().unwrap_or(0))
    }

    /// Makes what is missing. False: the next steps wait.
    fn fill(&self, plan: &mut Plan) -> bool {
        for number in self.start..self.start.saturating_add(self.replicas) {
            let done = match self.members.get(&number) {
                None => {
                    plan.create.push(NewPod { ordinal: number, current: self.by_current(number) });
                    false
                }
                Some(pod) if pods::is_finished(pod) => {
                    if !pods::is_terminating(pod) {
                        plan.replace.push(Arc::clone(pod));
                    }
                    false
                }
                Some(pod) => is_healthy(pod) && self.is_available(pod),
            };
            if !done && self.in_order() {
                return false;
            }
        }
        true
    }

    /// Takes away what is too much, the highest first; in order, nothing while a lower one is not well.
    fn shrink(&self, plan: &mut Plan) -> bool {
        let lowest_ill = plan.condemned.iter().rposition(|pod| !is_healthy(pod));
        for (index, pod) in plan.condemned.iter().enumerate() {
            if pods::is_terminating(pod) {
                if self.in_order() {
                    return false;
                }
                continue;
            }
            let well = is_healthy(pod) && self.is_available(pod);
            if self.in_order() && !well && lowest_ill != Some(index) {
                return false;
            }
            plan.delete.push(Arc::clone(pod));
            if self.in_order() {
                return false;
            }
        }
        true
    }

    /// Replaces pods of other revisions, the highest first, as many as may be missing at a time.
    fn roll(&self, plan: &mut Plan) {
        if !self.rolls() {
            return;
        }
        let lowest = self.start.saturating_add(self.partition().unwrap_or(0));
        let stale = |number: i32, pod: &Pod| {
            number >= lowest && revision(pod) != self.observed.update && !pods::is_terminating(pod)
        };
        let wanted = || self.members.iter().filter(|(number, _)| self.wants(**number));
        let missing = wanted().filter(|(number, pod)| !is_healthy(pod) && !stale(**number, pod)).count()
            + usize::try_from(self.replicas).unwrap_or(0).saturating_sub(wanted().count());
        let rolling = self.spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
        let most = rolling.and_then(|rolling| rolling.max_unavailable.clone()).unwrap_or(IntOrString::Int(1));
        let most = share::rounded_up(&most, usize::try_from(self.replicas).unwrap_or(0)).max(1);
        let victims = wanted().rev().filter(|(number, pod)| stale(**number, pod));
        let victims = victims.take(most.saturating_sub(missing)).map(|(_, pod)| Arc::clone(pod));
        plan.delete.extend(victims.filter(|pod| !pods::is_finished(pod)));
    }

    fn status(&self) -> StatefulSetStatus {
        let before = self.observed.set.status.clone().unwrap_or_default();
        let mut status = StatefulSetStatus {
            observed_generation: self.observed.set.metadata.generation,
            current_revision: Some(self.observed.current.to_owned()).filter(|name| !name.is_empty()),
            update_revision: Some(self.observed.update.to_owned()).filter(|name| !name.is_empty()),
            collision_count: Some(before.collision_count.unwrap_or(0)),
            conditions: before.conditions,
            ..StatefulSetStatus::default()
        };
        let (mut ready, mut available, mut current, mut updated) = (0, 0, 0, 0);
        for pod in self.members.values() {
            status.replicas += 1;
            ready += i32::from(pods::phase(pod) == "Running" && pods::is_ready(pod));
            available += i32::from(pods::phase(pod) == "Running" && self.is_available(pod));
            if !pods::is_terminating(pod) {
                current += i32::from(revision(pod) == self.observed.current);
                updated += i32::from(revision(pod) == self.observed.update);
            }
        }
        if self.rolls() && updated == status.replicas && ready == status.replicas && updated == self.replicas {
            status.current_revision.clone_from(&status.update_revision);
            current = updated;
        }
        let some = |number: i32| Some(number).filter(|number| *number > 0);
        status.ready_replicas = some(ready);
        status.available_replicas = Some(available);
        status.current_replicas = some(current);
        status.updated_replicas = some(updated);
        status
    }

    fn next_available(&self) -> Option<Duration> {
        let waiting = self.members.values().filter(|pod| is_healthy(pod) && !self.is_available(pod));
        let waits = waiting.filter_map(|pod| pods::becomes_available(pod, self.min_ready(), self.observed.now));
        waits.min().map(|wait| wait + Duration::from_millis(10))
    }
}
