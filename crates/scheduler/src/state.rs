//! Queue and snapshot, changed by what is seen and by what is decided. Pure.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use tokio::time::Instant;

use crate::framework::{Diagnosis, Placement, schedule};
use crate::plugins::Event;
use crate::plugins::default_preemption::{Candidate, preempt};
use crate::plugins::volume_binding::VolumePlan;
use crate::pod::{ObjectName, PodInfo};
use crate::profile::Profile;
use crate::queue::{Next, Queue};
use crate::snapshot::{Budget, Snapshot};
use crate::volumes::{Progress, Volumes};

pub(crate) struct State {
    profiles: Vec<Profile>,
    queue: Queue,
    snapshot: Snapshot,
    decisions: u64,
}

/// What is to be done for a pod.
#[derive(Debug)]
pub(crate) enum Decision {
    Bind(Arc<PodInfo>, Placement),
    Fail(Arc<PodInfo>, Diagnosis, Option<Candidate>),
    WaitUntil(Instant),
    Wait,
}

impl State {
    pub(crate) fn new(profiles: Vec<Profile>) -> Self {
        Self { profiles, queue: Queue::default(), snapshot: Snapshot::default(), decisions: 0 }
    }

    /// A pod as it is now.
    pub(crate) fn pod_applied(&mut self, old: Option<&PodInfo>, pod: &Arc<PodInfo>, now: Instant) {
        if pod.terminal {
            return self.pod_deleted(&pod.uid, now);
        }
        if let Some(node) = &pod.node_name {
            self.queue.remove(&pod.uid);
            self.snapshot.place(Arc::clone(pod), node);
            let same = |old: &PodInfo| {
                let part = |pod: &PodInfo| (pod.node_name.is_some(), pod.terminating, pod.labels.clone());
                part(old) == part(pod)
            };
            if !old.is_some_and(same) {
                self.queue.wake(now, Event::PodPlaced);
            }
            if old.is_some_and(|old| old.requests != pod.requests) {
                self.queue.wake(now, Event::PodGone);
            }
        } else if pod.terminating {
            self.queue.remove(&pod.uid);
            self.snapshot.forget_nomination(&pod.uid);
        } else if self.profile(pod).is_some() && !self.snapshot.is_placed(&pod.uid) {
            match pod.wishes.as_ref().and_then(|wishes| wishes.nominated_node.as_deref()) {
                Some(node) => self.snapshot.nominate(Arc::clone(pod), node),
                None => self.snapshot.forget_nomination(&pod.uid),
            }
            self.queue.set(Arc::clone(pod), now);
        }
    }

    fn profile(&self, pod: &PodInfo) -> Option<&Profile> {
        self.profiles.iter().find(|profile| profile.name == pod.scheduler_name)
    }

    /// A pod is gone, or needs nothing any more.
    pub(crate) fn pod_deleted(&mut self, uid: &str, now: Instant) {
        self.queue.remove(uid);
        self.snapshot.forget_nomination(uid);
        if self.snapshot.remove_pod(uid) {
            self.queue.wake(now, Event::PodGone);
        }
    }

    /// A node as it is now.
    pub(crate) fn node_applied(&mut self, old: Option<&Node>, new: &Node, now: Instant) {
        self.snapshot.set_node(new);
        for event in old.map_or_else(|| vec![Event::NodeAdded], |old| changes(old, new)) {
            self.queue.wake(now, event);
        }
    }

    /// A node is gone: nobody fits because of that, but who preferred it counts anew.
    pub(crate) fn node_deleted(&mut self, name: &str, now: Instant) {
        self.snapshot.remove_node(name);
        self.queue.wake(now, Event::NodeLabels);
    }

    /// Labels of a namespace, which affinity may select by.
    pub(crate) fn namespace_changed(&mut self, name: &str, labels: Option<BTreeMap<String, String>>, now: Instant) {
        self.snapshot.set_namespace(name, labels);
        self.queue.wake(now, Event::PodPlaced);
    }

    /// A disruption budget as it is now; none: it is gone.
    pub(crate) fn budget_changed(&mut self, key: &ObjectName, budget: Option<Budget>) {
        self.snapshot.budgets.retain(|other| other.key != *key);
        self.snapshot.budgets.extend(budget);
    }

    /// Something about storage changed: pods with claims may fit now.
    pub(crate) fn storage_changed(&mut self, change: impl FnOnce(&mut Volumes), now: Instant) {
        change(&mut self.snapshot.volumes);
        self.queue.wake(now, Event::Storage);
    }

    /// How far the claims of a pod are that is to be bound.
    pub(crate) fn progress(&self, claims: &[ObjectName], node: &str) -> Progress {
        self.snapshot.volumes.progress(claims, node)
    }

    /// Decides about the next pod. One that is to be bound counts as placed from now on.
    pub(crate) fn decide(&mut self, now: Instant) -> Decision {
        let pod = match self.queue.next(now) {
            Next::Pod(pod) => pod,
            Next::At(at) => return Decision::WaitUntil(at),
            Next::Never => return Decision::Wait,
        };
        self.decisions += 1;
        let Some(profile) = self.profiles.iter().find(|profile| profile.name == pod.scheduler_name) else {
            self.queue.remove(&pod.uid);
            return self.decide(now);
        };
        self.snapshot.prepare(&pod);
        match schedule(&pod, profile, &self.snapshot, self.decisions) {
            Ok(placement) => {
                self.snapshot.place(Arc::clone(&pod), &placement.node);
                self.snapshot.volumes.take(placement.volumes.volumes());
                Decision::Bind(pod, placement)
            }
            Err(mut diagnosis) => {
                let candidate = match profile.preempts {
                    true => preempt(&pod, profile, &self.snapshot, &diagnosis),
                    false => Err(String::new()),
                };
                self.queue.failed(&pod.uid, diagnosis.plugins(), false, now);
                match candidate {
                    Ok(candidate) => {
                        // Until its victims are gone nobody lesser may take the room.
                        self.snapshot.nominate(Arc::clone(&pod), &candidate.node);
                        Decision::Fail(pod, diagnosis, Some(candidate))
                    }
                    Err(why) => {
                        diagnosis.preemption = why;
                        Decision::Fail(pod, diagnosis, None)
                    }
                }
            }
        }
    }

    /// The apiserver refused the binding: the pod is not there, and is tried again.
    pub(crate) fn bind_failed(&mut self, pod: &PodInfo, volumes: &VolumePlan, now: Instant) {
        self.snapshot.volumes.give_back(volumes.volumes());
        if self.queue.get(&pod.uid).is_some() {
            self.snapshot.remove_pod(&pod.uid);
            self.queue.failed(&pod.uid, HashSet::new(), true, now);
            self.queue.wake(now, Event::PodGone);
        }
    }
}

/// Heartbeats do not let pods in; labels, taints, room and images do.
fn changes(old: &Node, new: &Node) -> Vec<Event> {
    let amounts = |node: &Node| {
        let status = node.status.clone().unwrap_or_default();
        (status.allocatable, status.capacity, status.images)
    };
    let mut events = Vec::new();
    if old.metadata.labels != new.metadata.labels {
        events.push(Event::NodeLabels);
    }
    if old.spec != new.spec {
        events.push(Event::NodeTaints);
    }
    if amounts(old) != amounts(new) {
        events.push(Event::NodeRoom);
    }
    events
}
