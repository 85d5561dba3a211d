//! Claims of the pod: bound ones can be reached from the node, others find a volume there or can get one made.

use std::collections::HashSet;
use std::sync::Arc;

use client::volumes::{self as claims, NO_PROVISIONER, SELECTED_NODE, annotation, is_fully_bound};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, TopologySelectorTerm};

use crate::framework::{Cycle, Filter, Rejection};
use crate::pod::{ObjectName, PodInfo};
use crate::snapshot::{NodeInfo, Snapshot};
use crate::volumes::Volumes;

pub(crate) struct VolumeBinding;

/// The pod's claims.
#[derive(Clone, Default)]
pub(crate) struct State<'a> {
    volumes: Option<&'a Volumes>,
    /// Volumes of bound claims; none where the volume is gone.
    bound: Vec<Option<&'a Arc<PersistentVolume>>>,
    waiting: Vec<&'a Arc<PersistentVolumeClaim>>,
}

/// What is to be written before the pod can be bound to a node.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct VolumePlan {
    /// Volumes that are given to claims.
    pub(crate) bind: Vec<(Arc<PersistentVolume>, Arc<PersistentVolumeClaim>)>,
    /// Claims whose volume is made for the node.
    pub(crate) select: Vec<Arc<PersistentVolumeClaim>>,
}

impl VolumePlan {
    pub(crate) fn is_empty(&self) -> bool {
        self.bind.is_empty() && self.select.is_empty()
    }

    pub(crate) fn volumes(&self) -> impl Iterator<Item = &Arc<PersistentVolume>> {
        self.bind.iter().map(|(volume, _)| volume)
    }

    /// The claims that are waited for.
    pub(crate) fn claims(&self) -> Vec<ObjectName> {
        let all = self.bind.iter().map(|(_, claim)| claim).chain(&self.select);
        all.map(|claim| ObjectName::of(&claim.metadata)).collect()
    }
}

impl<'a> State<'a> {
    /// The claims sorted, or why the pod can be nowhere.
    pub(crate) fn new(pod: &PodInfo, snapshot: &'a Snapshot) -> Result<Self, String> {
        let volumes = &snapshot.volumes;
        let mut state = Self { volumes: Some(volumes), ..Self::default() };
        for used in &pod.claims {
            let key = ObjectName { namespace: pod.key.namespace.clone(), name: used.name.clone() };
            let Some(claim) = volumes.claim(&key) else { return Err(missing(&used.name, used.own)) };
            state.sort(claim, pod, used.own)?;
        }
        Ok(state)
    }

    fn sort(&mut self, claim: &'a Arc<PersistentVolumeClaim>, pod: &PodInfo, own: bool) -> Result<(), String> {
        let Some(volumes) = self.volumes else { return Ok(()) };
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        if claim.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Lost")) {
            let volume = claims::volume_name(claim);
            return Err(format!("persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}"));
        }
        if claim.metadata.deletion_timestamp.is_some() {
            return Err(format!("persistentvolumeclaim {name:?} is being deleted"));
        }
        if own && !claims::belongs_to(&claim.metadata, Some(&pod.uid)) {
            let namespace = &pod.key.namespace;
            let pod = pod.object_key();
            return Err(format!("PVC {namespace}/{name} was not created for pod {pod} (pod is not owner)"));
        }
        if is_fully_bound(claim) {
            self.bound.push(volumes.volume(claims::volume_name(claim)));
            return Ok(());
        }
        let delayed = volumes.class_of(claim).is_some_and(|class| claims::waits_for_consumer(class));
        if !delayed || !claims::volume_name(claim).is_empty() {
            return Err("pod has unbound immediate PersistentVolumeClaims".to_owned());
        }
        self.waiting.push(claim);
        Ok(())
    }

    /// The volumes of bound claims.
    pub(crate) fn bound(&self) -> impl Iterator<Item = &'a Arc<PersistentVolume>> {
        self.bound.iter().copied().flatten()
    }

    pub(crate) fn all(&self) -> Option<&'a Volumes> {
        self.volumes
    }

    /// What is to be done for the pod on this node, or why that cannot be.
    pub(crate) fn plan(&self, node: &NodeInfo) -> Result<VolumePlan, Rejection> {
        let Some(volumes) = self.volumes else { return Ok(VolumePlan::default()) };
        for volume in &self.bound {
            let Some(volume) = volume else {
                let why = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
                return Err(Rejection::unresolvable(why));
            };
            if !claims::reaches(volume, &node.name, &node.labels) {
                return Err(Rejection::unresolvable("node(s) didn't match PersistentVolume's node affinity"));
            }
        }
        let none = || Rejection::unresolvable("node(s) didn't find available persistent volumes to bind");
        let (mut plan, mut besides) = (VolumePlan::default(), HashSet::new());
        for claim in &self.waiting {
            match annotation(&claim.metadata, SELECTED_NODE) {
                Some(selected) if selected == node.name => {
                    plan.select.push(Arc::clone(claim));
                    continue;
                }
                Some(_) => return Err(none()),
                None => {}
            }
            if let Some(volume) = volumes.best(claim, node, &besides) {
                besides.insert(volume.metadata.name.clone().unwrap_or_default());
                plan.bind.push((Arc::clone(volume), Arc::clone(claim)));
            } else if can_provision(volumes, claim, node) {
                plan.select.push(Arc::clone(claim));
            } else {
                return Err(none());
            }
        }
        Ok(plan)
    }
}

fn missing(name: &str, own: bool) -> String {
    if own {
        return format!("waiting for ephemeral volume controller to create the persistentvolumeclaim {name:?}");
    }
    format!("persistentvolumeclaim {name:?} not found")
}

fn can_provision(volumes: &Volumes, claim: &PersistentVolumeClaim, node: &NodeInfo) -> bool {
    let Some(class) = volumes.class_of(claim) else { return false };
    let allowed = class.allowed_topologies.as_deref().unwrap_or_default();
    let holds = |term: &TopologySelectorTerm| {
        term.match_label_expressions
            .iter()
            .flatten()
            .all(|expression| node.labels.get(&expression.key).is_some_and(|value| expression.values.contains(value)))
    };
    class.provisioner != NO_PROVISIONER && (allowed.is_empty() || allowed.iter().any(holds))
}

impl Filter for VolumeBinding {
    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Rejection> {
        cycle.volumes.plan(node).map(drop)
    }
}
