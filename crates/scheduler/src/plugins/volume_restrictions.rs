//! A claim with access mode ReadWriteOncePod has one pod at a time.

use client::volumes::access_modes;

use crate::framework::{Cycle, Filter, Rejection};
use crate::pod::{ObjectName, PodInfo};
use crate::snapshot::{NodeInfo, Snapshot};

pub(crate) struct VolumeRestrictions;

/// Exclusive claims of the pod, and on which nodes pods use them.
#[derive(Clone, Default)]
pub(crate) struct State {
    exclusive: Vec<String>,
    /// Names of nodes with a pod that uses one of them.
    users: Vec<String>,
}

impl State {
    pub(crate) fn new(pod: &PodInfo, snapshot: &Snapshot) -> Self {
        let exclusive = |name: &&str| {
            let key = ObjectName { namespace: pod.key.namespace.clone(), name: (*name).to_owned() };
            let claim = snapshot.volumes.claim(&key);
            claim.is_some_and(|claim| access_modes(claim).iter().any(|mode| mode == "ReadWriteOncePod"))
        };
        let names = pod.claims.iter().map(|used| used.name.as_str()).filter(exclusive);
        let mut state = Self { exclusive: names.map(str::to_owned).collect(), users: Vec::new() };
        if !state.exclusive.is_empty() {
            let nodes = snapshot.nodes().filter(|node| state.is_used(pod, node));
            state.users = nodes.map(|node| node.name.clone()).collect();
        }
        state
    }

    fn is_used(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        node.pods.values().any(|other| {
            other.key.namespace == pod.key.namespace
                && other.uid != pod.uid
                && other.claims.iter().any(|used| self.exclusive.contains(&used.name))
        })
    }
}

impl Filter for VolumeRestrictions {
    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Rejection> {
        let state = &cycle.restrictions;
        if state.exclusive.is_empty() {
            return Ok(());
        }
        // This node may be looked at without some of its pods: would they have to go?
        if state.users.iter().any(|user| *user != node.name) || state.is_used(cycle.pod, node) {
            let why = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode";
            return Err(Rejection::resolvable(why));
        }
        Ok(())
    }
}
