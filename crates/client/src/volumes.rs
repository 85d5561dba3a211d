//! Claims and the volumes that fit them: the volume controllers and the scheduler ask.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use api::Quantity;
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{NodeTerm, ObjectKey};

/// On a claim: its binding is complete.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// On a claim or volume: a controller, not a user, chose its other half.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// On a volume: who made it.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// On a claim: the node that its pod will be on.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// On a claim: who is to make its volume.
pub const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
/// The earlier name of [`PROVISIONER`], which provisioners still look for.
pub const PROVISIONER_BETA: &str = "volume.beta.kubernetes.io/storage-provisioner";
/// On a class: claims that name none get it.
pub const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
const CLASS_BETA: &str = "volume.beta.kubernetes.io/storage-class";
/// The provisioner of classes whose volumes somebody else makes.
pub const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// An annotation.
pub fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

/// The class that a claim names; none where it leaves that open.
pub fn claim_class(claim: &PersistentVolumeClaim) -> Option<&str> {
    annotation(&claim.metadata, CLASS_BETA).or_else(|| claim.spec.as_ref()?.storage_class_name.as_deref())
}

/// The class of a volume, empty for none.
pub fn volume_class(volume: &PersistentVolume) -> &str {
    let own = || volume.spec.as_ref()?.storage_class_name.as_deref();
    annotation(&volume.metadata, CLASS_BETA).or_else(own).unwrap_or_default()
}

/// Of several default classes the newest, then the first by name.
pub fn default_class<'a>(classes: impl IntoIterator<Item = &'a StorageClass>) -> Option<&'a StorageClass> {
    let is_default = |class: &&StorageClass| {
        let beta = "storageclass.beta.kubernetes.io/is-default-class";
        [DEFAULT_CLASS, beta].iter().any(|key| annotation(&class.metadata, key) == Some("true"))
    };
    let rank = |class: &&StorageClass| {
        let created = class.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (std::cmp::Reverse(created), class.metadata.name.clone())
    };
    classes.into_iter().filter(is_default).min_by_key(rank)
}

/// Whether the class waits for a pod before its claims are bound.
pub fn waits_for_consumer(class: &StorageClass) -> bool {
    class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
}

/// Name of the volume that a claim names, empty for none.
pub fn volume_name(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default()
}

/// Whether claim and volume are each other's, as far as the claim says.
pub fn is_fully_bound(claim: &PersistentVolumeClaim) -> bool {
    !volume_name(claim).is_empty() && annotation(&claim.metadata, BIND_COMPLETED).is_some()
}

/// The claim that a volume is for.
pub fn claim_ref(volume: &PersistentVolume) -> Option<&ObjectReference> {
    volume.spec.as_ref()?.claim_ref.as_ref()
}

/// The key of the claim that a volume is for.
pub fn claim_key(volume: &PersistentVolume) -> Option<ObjectKey> {
    let reference = claim_ref(volume)?;
    Some(ObjectKey::new(reference.namespace.clone()?, reference.name.clone()?))
}

/// Whether the volume is meant for this claim; by name only where it was reserved before the claim was made.
pub fn is_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let Some(reference) = claim_ref(volume) else { return false };
    let uid = reference.uid.as_deref().unwrap_or_default();
    reference.name == claim.metadata.name
        && reference.namespace == claim.metadata.namespace
        && (uid.is_empty() || Some(uid) == claim.metadata.uid.as_deref())
}

/// A reference to a claim for a volume to carry.
pub fn reference_to(claim: &PersistentVolumeClaim) -> ObjectReference {
    crate::reference(claim)
}

fn storage(amounts: Option<&BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>) -> Quantity {
    let text = amounts.and_then(|amounts| amounts.get("storage"));
    text.and_then(|text| Quantity::parse(&text.0).ok()).unwrap_or_default()
}

/// How much a claim asks for.
pub fn requested(claim: &PersistentVolumeClaim) -> Quantity {
    storage(claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref()))
}

/// How much a claim has.
pub fn granted(claim: &PersistentVolumeClaim) -> Quantity {
    storage(claim.status.as_ref().and_then(|status| status.capacity.as_ref()))
}

/// How much a volume holds.
pub fn capacity(volume: &PersistentVolume) -> Quantity {
    storage(volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()))
}

/// `Filesystem` or `Block`.
fn volume_mode(mode: Option<&String>) -> &str {
    mode.map_or("Filesystem", String::as_str)
}

fn modes(list: Option<&Vec<String>>) -> &[String] {
    list.map_or(&[], Vec::as_slice)
}

/// The access modes that a claim wants.
pub fn access_modes(claim: &PersistentVolumeClaim) -> &[String] {
    modes(claim.spec.as_ref().and_then(|spec| spec.access_modes.as_ref()))
}

/// Why a volume that a claim names cannot be its volume.
pub fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<&'static str> {
    let (Some(has), Some(wants)) = (volume.spec.as_ref(), claim.spec.as_ref()) else { return Some("no spec") };
    if volume.metadata.deletion_timestamp.is_some() {
        return Some("the volume is marked for deletion");
    }
    if capacity(volume) < requested(claim) {
        return Some("requested PV is too small");
    }
    if volume_class(volume) != claim_class(claim).unwrap_or_default() {
        return Some("storageClassName does not match");
    }
    let attributes = |name: Option<&String>| name.cloned().unwrap_or_default();
    if attributes(has.volume_attributes_class_name.as_ref()) != attributes(wants.volume_attributes_class_name.as_ref())
    {
        return Some("volumeAttributesClassName does not match");
    }
    if volume_mode(has.volume_mode.as_ref()) != volume_mode(wants.volume_mode.as_ref()) {
        return Some("incompatible volumeMode");
    }
    let there = modes(has.access_modes.as_ref());
    if !access_modes(claim).iter().all(|mode| there.contains(mode)) {
        return Some("incompatible accessMode");
    }
    None
}

/// Whether a volume can be used on the node of this name with these labels.
pub fn reaches(volume: &PersistentVolume, node: &str, labels: &BTreeMap<String, String>) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
    affinity
        .is_none_or(|required| required.node_selector_terms.iter().any(|term| NodeTerm::of(term).matches(node, labels)))
}

/// A node that is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
}

/// The volume that fits a claim best: one that is reserved for it, else the smallest with the fewest other access
/// modes. `delayed`: the claim waits for a pod, so that without a node only reserved ones are considered.
pub fn best<'a>(
    claim: &PersistentVolumeClaim,
    volumes: impl IntoIterator<Item = &'a Arc<PersistentVolume>>,
    node: Option<Place<'_>>,
    taken: &HashSet<String>,
    delayed: bool,
) -> Option<&'a Arc<PersistentVolume>> {
    let selector = claim.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let selects = |volume: &PersistentVolume| match selector {
        None => true,
        Some(_) => {
            let empty = BTreeMap::new();
            let labels = volume.metadata.labels.as_ref().unwrap_or(&empty);
            crate::selector(selector).is_some_and(|selector| selector.matches(labels))
        }
    };
    let fits = |volume: &&Arc<PersistentVolume>| {
        let free = !taken.contains(volume.metadata.name.as_deref().unwrap_or_default());
        let here = node.is_none_or(|node| reaches(volume, node.name, node.labels));
        let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        let available = is_for(volume, claim)
            || (claim_ref(volume).is_none()
                && phase == Some("Available")
                && !(delayed && node.is_none())
                && selects(volume));
        free && available && here && mismatch(volume, claim).is_none()
    };
    let rank = |volume: &&Arc<PersistentVolume>| {
        let modes = volume.spec.as_ref().and_then(|spec| spec.access_modes.as_ref()).map_or(0, Vec::len);
        (!is_for(volume, claim), modes, capacity(volume), volume.metadata.name.clone())
    };
    volumes.into_iter().filter(fits).min_by_key(rank)
}

/// Name of the claim of a volume of a pod, and whether it is the pod's own (ephemeral).
pub fn claim_of(pod_name: &str, volume: &Volume) -> Option<(String, bool)> {
    if let Some(source) = &volume.persistent_volume_claim {
        return Some((source.claim_name.clone(), false));
    }
    volume.ephemeral.as_ref().map(|_| (format!("{pod_name}-{}", volume.name), true))
}

/// The claims of a pod by name, with whether each is the pod's own.
pub fn claims_of(pod: &Pod) -> Vec<(String, bool)> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| claim_of(name, volume)).collect()
}

/// Whether an object was made for this owner, which controls it.
pub fn belongs_to(meta: &ObjectMeta, uid: Option<&str>) -> bool {
    let mut owners = meta.owner_references.iter().flatten();
    owners.any(|owner| owner.controller == Some(true) && Some(owner.uid.as_str()) == uid)
}
