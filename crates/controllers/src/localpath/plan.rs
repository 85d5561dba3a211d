//! What to make of a claim, and what becomes of a volume. Pure.

use std::collections::BTreeMap;

use client::volumes::{self, annotation, claim_class, volume_name, waits_for_consumer};
use k8s_openapi::api::core::v1::{
    LocalVolumeSource, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume,
    PersistentVolumeClaim, PersistentVolumeSpec, VolumeNodeAffinity,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Name of this provisioner.
pub(crate) const PROVISIONER: &str = "oxikube.io/local-path";
/// Name of the class that a cluster begins with.
pub(super) const CLASS: &str = "local-path";
/// Holds a volume until its node has removed the folder.
pub(super) const FINALIZER: &str = "oxikube.io/local-path";
/// On a node: where it keeps such folders.
pub(super) const FOLDER: &str = "local-path.oxikube.io/folder";
/// On a volume: the node that has the folder.
pub(super) const NODE: &str = "local-path.oxikube.io/node";
const HOSTNAME: &str = "kubernetes.io/hostname";

/// What to do about a claim.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// It is not this provisioner's turn.
    None,
    Make(Box<PersistentVolume>),
    Refuse(String),
    /// Another node may do better: the choice is given back.
    Reschedule(String),
}

pub(super) fn class() -> StorageClass {
    StorageClass {
        metadata: ObjectMeta { name: Some(CLASS.to_owned()), ..ObjectMeta::default() },
        provisioner: PROVISIONER.to_owned(),
        reclaim_policy: Some("Delete".to_owned()),
        volume_binding_mode: Some("WaitForFirstConsumer".to_owned()),
        allow_volume_expansion: Some(true),
        ..StorageClass::default()
    }
}

/// The answer to a claim. `node` is the one that was selected for it.
pub(super) fn provision(claim: &PersistentVolumeClaim, class: &StorageClass, node: Option<&Node>) -> Answer {
    let asked = annotation(&claim.metadata, volumes::PROVISIONER) == Some(PROVISIONER);
    if !asked || class.provisioner != PROVISIONER || !volume_name(claim).is_empty() {
        return Answer::None;
    }
    if let Some(why) = impossible(claim, class) {
        return Answer::Refuse(why.to_owned());
    }
    let Some(name) = annotation(&claim.metadata, volumes::SELECTED_NODE) else { return Answer::None };
    let Some(node) = node else { return Answer::Reschedule(format!("node {name:?} is not there")) };
    let Some(folder) = annotation(&node.metadata, FOLDER) else {
        return Answer::Reschedule(format!("node {name:?} keeps no local volumes"));
    };
    Answer::Make(Box::new(make(claim, class, node, folder)))
}

fn impossible(claim: &PersistentVolumeClaim, class: &StorageClass) -> Option<&'static str> {
    let spec = claim.spec.as_ref()?;
    if !waits_for_consumer(class) {
        return Some(
            "the folder is made on the node of the first pod: the class needs volumeBindingMode WaitForFirstConsumer",
        );
    }
    if spec.selector.is_some() {
        return Some("claim.Spec.Selector is not supported");
    }
    if spec.volume_mode.as_deref() == Some("Block") {
        return Some("a folder cannot be a block device");
    }
    if spec.data_source.is_some() || spec.data_source_ref.is_some() {
        return Some("a folder cannot be made from a data source");
    }
    let single = |mode: &String| matches!(mode.as_str(), "ReadWriteOnce" | "ReadWriteOncePod");
    (!volumes::access_modes(claim).iter().all(single))
        .then_some("a folder is on one node: only access modes ReadWriteOnce and ReadWriteOncePod are supported")
}

fn make(claim: &PersistentVolumeClaim, class: &StorageClass, node: &Node, folder: &str) -> PersistentVolume {
    let name = format!("pvc-{}", claim.metadata.uid.as_deref().unwrap_or_default());
    let spec = claim.spec.clone().unwrap_or_default();
    let node_name = node.metadata.name.clone().unwrap_or_default();
    let host = node.metadata.labels.as_ref().and_then(|labels| labels.get(HOSTNAME)).unwrap_or(&node_name);
    let here = NodeSelectorRequirement {
        key: HOSTNAME.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![host.clone()]),
    };
    let term = NodeSelectorTerm { match_expressions: Some(vec![here]), match_fields: None };
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some(BTreeMap::from([(NODE.to_owned(), node_name)])),
            annotations: Some(BTreeMap::from([(volumes::PROVISIONED_BY.to_owned(), PROVISIONER.to_owned())])),
            finalizers: Some(vec![FINALIZER.to_owned()]),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: spec.access_modes,
            capacity: spec.resources.and_then(|resources| resources.requests),
            claim_ref: Some(volumes::reference_to(claim)),
            persistent_volume_reclaim_policy: class.reclaim_policy.clone(),
            storage_class_name: claim_class(claim).map(str::to_owned),
            volume_mode: spec.volume_mode,
            mount_options: class.mount_options.clone(),
            local: Some(LocalVolumeSource { path: format!("{folder}/{name}"), fs_type: None }),
            node_affinity: Some(VolumeNodeAffinity {
                required: Some(NodeSelector { node_selector_terms: vec![term] }),
            }),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    }
}

/// What becomes of a volume.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stay,
    Delete,
    /// No node has to remove the folder, or none can.
    LetGo,
}

pub(super) fn fate(volume: &PersistentVolume, node_known: bool) -> Fate {
    let spec = volume.spec.clone().unwrap_or_default();
    if annotation(&volume.metadata, volumes::PROVISIONED_BY) != Some(PROVISIONER) {
        return Fate::Stay;
    }
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    let delete = spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete");
    let held = volume.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
    match (volume.metadata.deletion_timestamp.is_some(), phase) {
        (false, Some("Released")) if delete => Fate::Delete,
        (true, phase) if held && phase != Some("Bound") && (!delete || !node_known) => Fate::LetGo,
        _ => Fate::Stay,
    }
}
