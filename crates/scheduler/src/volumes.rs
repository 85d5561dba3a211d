//! Claims, volumes and classes as the scheduler sees them, and which volumes it has given away already.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use client::volumes::{self, Place, SELECTED_NODE, annotation};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::{CSINode, StorageClass};

use crate::pod::ObjectName;
use crate::snapshot::NodeInfo;

/// All that is known of storage.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    claims: HashMap<ObjectName, Arc<PersistentVolumeClaim>>,
    volumes: BTreeMap<String, Arc<PersistentVolume>>,
    classes: HashMap<String, Arc<StorageClass>>,
    /// How many volumes of each CSI driver each node can have.
    limits: HashMap<String, HashMap<String, usize>>,
    /// Volumes that were chosen for a claim and do not say so yet.
    taken: HashSet<String>,
}

/// How far the claims of a pod are that is to be bound.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Bound,
    Waiting,
    Failed(String),
}

fn name_of(meta: &kube::api::ObjectMeta) -> String {
    meta.name.clone().unwrap_or_default()
}

impl ObjectName {
    pub(crate) fn of(meta: &kube::api::ObjectMeta) -> Self {
        Self { namespace: meta.namespace.clone().unwrap_or_default(), name: name_of(meta) }
    }
}

impl Volumes {
    pub(crate) fn set_claim(&mut self, claim: Arc<PersistentVolumeClaim>) {
        self.claims.insert(ObjectName::of(&claim.metadata), claim);
    }

    pub(crate) fn remove_claim(&mut self, claim: &PersistentVolumeClaim) {
        self.claims.remove(&ObjectName::of(&claim.metadata));
    }

    pub(crate) fn set_volume(&mut self, volume: Arc<PersistentVolume>) {
        let name = name_of(&volume.metadata);
        if volumes::claim_ref(&volume).is_some() {
            self.taken.remove(&name);
        }
        self.volumes.insert(name, volume);
    }

    pub(crate) fn remove_volume(&mut self, volume: &PersistentVolume) {
        let name = name_of(&volume.metadata);
        self.taken.remove(&name);
        self.volumes.remove(&name);
    }

    pub(crate) fn set_class(&mut self, class: Arc<StorageClass>) {
        self.classes.insert(name_of(&class.metadata), class);
    }

    pub(crate) fn remove_class(&mut self, class: &StorageClass) {
        self.classes.remove(&name_of(&class.metadata));
    }

    pub(crate) fn set_csi_node(&mut self, node: &CSINode) {
        let limits = node.spec.drivers.iter().filter_map(|driver| {
            let count = driver.allocatable.as_ref()?.count?;
            Some((driver.name.clone(), usize::try_from(count).unwrap_or(0)))
        });
        self.limits.insert(name_of(&node.metadata), limits.collect());
    }

    pub(crate) fn remove_csi_node(&mut self, node: &CSINode) {
        self.limits.remove(&name_of(&node.metadata));
    }

    pub(crate) fn limits(&self, node: &str) -> Option<&HashMap<String, usize>> {
        self.limits.get(node).filter(|limits| !limits.is_empty())
    }

    pub(crate) fn claim(&self, key: &ObjectName) -> Option<&Arc<PersistentVolumeClaim>> {
        self.claims.get(key)
    }

    pub(crate) fn volume(&self, name: &str) -> Option<&Arc<PersistentVolume>> {
        self.volumes.get(name)
    }

    /// The volume that a claim is bound to.
    pub(crate) fn volume_of(&self, key: &ObjectName) -> Option<&Arc<PersistentVolume>> {
        self.volume(volumes::volume_name(self.claim(key)?))
    }

    pub(crate) fn class_of(&self, claim: &PersistentVolumeClaim) -> Option<&Arc<StorageClass>> {
        self.classes.get(volumes::claim_class(claim)?)
    }

    /// The free volume that suits a claim best on a node; `besides` are chosen for other claims of the same pod.
    pub(crate) fn best(
        &self,
        claim: &PersistentVolumeClaim,
        node: &NodeInfo,
        besides: &HashSet<String>,
    ) -> Option<&Arc<PersistentVolume>> {
        let free = self.volumes.values().filter(|volume| !self.taken.contains(&name_of(&volume.metadata)));
        volumes::best(claim, free, Some(Place { name: &node.name, labels: &node.labels }), besides, true)
    }

    pub(crate) fn take<'a>(&mut self, names: impl Iterator<Item = &'a Arc<PersistentVolume>>) {
        self.taken.extend(names.map(|volume| name_of(&volume.metadata)));
    }

    pub(crate) fn give_back<'a>(&mut self, names: impl Iterator<Item = &'a Arc<PersistentVolume>>) {
        for volume in names {
            self.taken.remove(&name_of(&volume.metadata));
        }
    }

    /// How far these claims are, of a pod that waits to be bound to `node`.
    pub(crate) fn progress(&self, claims: &[ObjectName], node: &str) -> Progress {
        let mut progress = Progress::Bound;
        for key in claims {
            let Some(claim) = self.claim(key) else {
                return Progress::Failed(format!("persistentvolumeclaim {:?} not found", key.name));
            };
            if volumes::is_fully_bound(claim) {
                continue;
            }
            // Whoever was to make the volume gave the choice of the node back.
            match annotation(&claim.metadata, SELECTED_NODE) {
                Some(selected) if selected != node => {
                    return Progress::Failed(format!("provisioning failed for PVC {:?}", key.name));
                }
                _ => progress = Progress::Waiting,
            }
        }
        progress
    }
}
