//! Queue and snapshot, changed by what is seen and by what is decided. Pure.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use tokio::time::Instant;

use crate::framework::{Diagnosis, Placement, schedule};
use crate::plugins::default_preemption::{Candidate, preempt};
use crate::plugins::volume_binding::VolumePlan;
use crate::pod::{ObjectName, PodInfo};
use crate::queue::{Next, Queue};
use crate::snapshot::Snapshot;
use crate::volumes::{Progress, Volumes};

pub(crate) struct State {
    scheduler_name: String,
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
    pub(crate) fn new(scheduler_name: String) -> Self {
        Self { scheduler_name, queue: Queue::default(), snapshot: Snapshot::default(), decisions: 0 }
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
                self.queue.wake(now, PodInfo::looks_at_others);
            }
            if old.is_some_and(|old| old.requests != pod.requests) {
                self.queue.wake(now, |_| true);
            }
        } else if pod.terminating {
            self.queue.remove(&pod.uid);
        } else if pod.scheduler_name == self.scheduler_name && !self.snapshot.is_placed(&pod.uid) {
            self.queue.set(Arc::clone(pod), now);
        }
    }

    /// A pod is gone, or needs nothing any more.
    pub(crate) fn pod_deleted(&mut self, uid: &str, now: Instant) {
        self.queue.remove(uid);
        if self.snapshot.remove_pod(uid) {
            self.queue.wake(now, |_| true);
        }
    }

    /// A node as it is now.
    pub(crate) fn node_applied(&mut self, old: Option<&Node>, new: &Node, now: Instant) {
        self.snapshot.set_node(new);
        if old.is_none_or(|old| matters(old, new)) {
            self.queue.wake(now, |_| true);
        }
    }

    /// A node is gone.
    pub(crate) fn node_deleted(&mut self, name: &str, now: Instant) {
        self.snapshot.remove_node(name);
        self.queue.wake(now, |_| true);
    }

    /// Something about storage changed: pods with claims may fit now.
    pub(crate) fn storage_changed(&mut self, change: impl FnOnce(&mut Volumes), now: Instant) {
        change(&mut self.snapshot.volumes);
        self.queue.wake(now, |pod| !pod.claims.is_empty());
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
        match schedule(&pod, &self.snapshot, self.decisions) {
            Ok(placement) => {
                self.snapshot.place(Arc::clone(&pod), &placement.node);
                self.snapshot.volumes.take(placement.volumes.volumes());
                Decision::Bind(pod, placement)
            }
            Err(mut diagnosis) => {
                let candidate = preempt(&pod, &self.snapshot, &diagnosis);
                self.queue.failed(&pod.uid, false, now);
                match candidate {
                    Ok(candidate) => Decision::Fail(pod, diagnosis, Some(candidate)),
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
            self.queue.failed(&pod.uid, true, now);
            self.queue.wake(now, |_| true);
        }
    }
}

/// Heartbeats do not let pods in; labels, taints, room and images do.
fn matters(old: &Node, new: &Node) -> bool {
    let amounts = |node: &Node| {
        let status = node.status.clone().unwrap_or_default();
        (status.allocatable, status.capacity, status.images)
    };
    old.metadata.labels != new.metadata.labels || old.spec != new.spec || amounts(old) != amounts(new)
}
