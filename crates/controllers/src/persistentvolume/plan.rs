//! What is to be written next for a claim. Pure; each write brings the next look.

use client::volumes::{self, annotation};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeStatus};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// What a claim is looked at with.
#[derive(Default)]
pub(super) struct View<'a> {
    /// The volume that it names.
    pub(super) named: Option<&'a PersistentVolume>,
    /// The best one of those that are free.
    pub(super) best: Option<&'a PersistentVolume>,
    pub(super) class: Option<&'a StorageClass>,
    /// The class of claims that leave it open.
    pub(super) default_class: Option<&'a StorageClass>,
    /// Pods without a node that use it.
    pub(super) waiting: Vec<String>,
}

/// One write; of at most one object, so that none can be half done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Write {
    Volume(Box<PersistentVolume>),
    VolumeStatus(Box<PersistentVolume>),
    Claim(Box<PersistentVolumeClaim>),
    ClaimStatus(Box<PersistentVolumeClaim>),
}

/// What to tell about the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) warning: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) write: Option<Write>,
    pub(super) event: Option<Event>,
}

impl Plan {
    pub(super) fn write(write: Write) -> Self {
        Self { write: Some(write), event: None }
    }

    fn and(mut self, event: Event) -> Self {
        self.event = Some(event);
        self
    }
}

pub(super) fn normal(reason: &'static str, message: impl Into<String>) -> Event {
    Event { warning: false, reason, message: message.into() }
}

pub(super) fn warning(reason: &'static str, message: impl Into<String>) -> Event {
    Event { warning: true, reason, message: message.into() }
}

pub(super) fn annotate(meta: &mut ObjectMeta, key: &str, value: &str) -> bool {
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert(key.to_owned(), value.to_owned()).as_deref() != Some(value)
}

pub(super) fn volume_phase(volume: &PersistentVolume) -> &str {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// The next write for a claim.
pub(super) fn claim(claim: &PersistentVolumeClaim, view: &View<'_>) -> Plan {
    if annotation(&claim.metadata, volumes::BIND_COMPLETED).is_some() {
        bound(claim, view)
    } else {
        unbound(claim, view)
    }
}

fn bound(claim: &PersistentVolumeClaim, view: &View<'_>) -> Plan {
    let lost = |reason, message: &str| phase(claim, "Lost", Some(warning(reason, message)));
    if volumes::volume_name(claim).is_empty() {
        return lost("ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!");
    }
    let Some(volume) = view.named else {
        return lost("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
    };
    let uid = volumes::claim_ref(volume).map(|reference| &reference.uid);
    if uid.is_none_or(|uid| *uid == claim.metadata.uid) {
        return bind(claim, volume);
    }
    lost("ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
}

fn unbound(claim: &PersistentVolumeClaim, view: &View<'_>) -> Plan {
    if claim.metadata.deletion_timestamp.is_some() {
        return Plan::default();
    }
    if volumes::volume_name(claim).is_empty() {
        return match view.best {
            Some(volume) => bind(claim, volume),
            None => without_volume(claim, view),
        };
    }
    let Some(volume) = view.named else { return phase(claim, "Pending", None) };
    if volumes::claim_ref(volume).is_none() {
        if let Some(why) = volumes::mismatch(volume, claim) {
            let name = volume.metadata.name.as_deref().unwrap_or_default();
            let message = format!("Cannot bind to requested volume {name:?}: {why}");
            return phase(claim, "Pending", Some(warning("VolumeMismatch", message)));
        }
        return bind(claim, volume);
    }
    if volumes::is_for(volume, claim) {
        return bind(claim, volume);
    }
    let holder = volumes::claim_key(volume).map(|key| key.to_string()).unwrap_or_default();
    let message = format!("volume {:?} already bound to a different claim.", volumes::volume_name(claim));
    tracing::debug!(holder, message);
    phase(claim, "Pending", Some(warning("FailedBinding", message)))
}

/// No volume is there: a class is set, a provisioner is asked, or it is waited.
fn without_volume(claim: &PersistentVolumeClaim, view: &View<'_>) -> Plan {
    if volumes::claim_class(claim).is_none()
        && let Some(class) = view.default_class
    {
        let mut changed = claim.clone();
        changed.spec.get_or_insert_default().storage_class_name = class.metadata.name.clone();
        return Plan::write(Write::Claim(Box::new(changed)));
    }
    let delayed = view.class.is_some_and(volumes::waits_for_consumer);
    if delayed && annotation(&claim.metadata, volumes::SELECTED_NODE).is_none() {
        return phase(claim, "Pending", Some(waits(&view.waiting)));
    }
    let Some(name) = volumes::claim_class(claim).filter(|name| !name.is_empty()) else {
        let message = "no persistent volumes available for this claim and no storage class is set";
        return phase(claim, "Pending", Some(normal("FailedBinding", message)));
    };
    let Some(class) = view.class else {
        let message = format!("storageclass.storage.k8s.io {name:?} not found");
        return phase(claim, "Pending", Some(warning("ProvisioningFailed", message)));
    };
    provision(claim, &class.provisioner)
}

fn waits(pods: &[String]) -> Event {
    let many = if pods.len() == 1 { "pod" } else { "pods" };
    if pods.is_empty() {
        return normal("WaitForFirstConsumer", "waiting for first consumer to be created before binding");
    }
    normal("WaitForPodScheduled", format!("waiting for {many} {} to be scheduled", pods.join(",")))
}

/// Asks the provisioner: it looks for its name on the claim.
fn provision(claim: &PersistentVolumeClaim, provisioner: &str) -> Plan {
    if provisioner.starts_with("kubernetes.io/") {
        let message = format!("no volume plugin matched name: {provisioner}");
        return phase(claim, "Pending", Some(warning("ProvisioningFailed", message)));
    }
    let mut changed = claim.clone();
    let mut asked = annotate(&mut changed.metadata, volumes::PROVISIONER, provisioner);
    asked |= annotate(&mut changed.metadata, volumes::PROVISIONER_BETA, provisioner);
    if asked {
        return Plan::write(Write::Claim(Box::new(changed)));
    }
    let message = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
    );
    phase(claim, "Pending", Some(normal("ExternalProvisioning", message)))
}

/// Makes both each other's, in an order that can break off anywhere.
fn bind(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Plan {
    if let Some(changed) = take(volume, claim) {
        return Plan::write(Write::Volume(Box::new(changed)));
    }
    if volume_phase(volume) != "Bound" {
        return Plan::write(Write::VolumeStatus(Box::new(with_phase(volume, "Bound", ""))));
    }
    if let Some(changed) = give(claim, volume) {
        return Plan::write(Write::Claim(Box::new(changed)));
    }
    let mut changed = claim.clone();
    let status = changed.status.get_or_insert_default();
    let spec = volume.spec.clone().unwrap_or_default();
    if status.phase.as_deref() != Some("Bound") {
        status.phase = Some("Bound".into());
        // Later differences are an expansion under way.
        status.capacity = spec.capacity;
    }
    status.access_modes = spec.access_modes;
    if changed == *claim { Plan::default() } else { Plan::write(Write::ClaimStatus(Box::new(changed))) }
}

/// The volume with the claim's reference; none if it has that.
pub(super) fn take(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<PersistentVolume> {
    let known = volumes::claim_ref(volume);
    if known.is_some_and(|reference| reference.uid == claim.metadata.uid) {
        return None;
    }
    let mut changed = volume.clone();
    if known.is_none() {
        annotate(&mut changed.metadata, volumes::BOUND_BY_CONTROLLER, "yes");
    }
    changed.spec.get_or_insert_default().claim_ref = Some(volumes::reference_to(claim));
    Some(changed)
}

fn give(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Option<PersistentVolumeClaim> {
    let mut changed = claim.clone();
    if volumes::volume_name(claim) != volume.metadata.name.as_deref().unwrap_or_default() {
        changed.spec.get_or_insert_default().volume_name.clone_from(&volume.metadata.name);
        annotate(&mut changed.metadata, volumes::BOUND_BY_CONTROLLER, "yes");
    }
    if annotation(&claim.metadata, volumes::BIND_COMPLETED).is_none() {
        annotate(&mut changed.metadata, volumes::BIND_COMPLETED, "yes");
    }
    (changed != *claim).then_some(changed)
}

pub(super) fn with_phase(volume: &PersistentVolume, phase: &str, message: &str) -> PersistentVolume {
    let mut changed = volume.clone();
    let status = changed.status.get_or_insert_with(PersistentVolumeStatus::default);
    status.phase = Some(phase.to_owned());
    status.message = Some(message.to_owned()).filter(|message| !message.is_empty());
    changed
}

/// A claim that is not bound, and why.
fn phase(claim: &PersistentVolumeClaim, phase: &str, event: Option<Event>) -> Plan {
    let status = claim.status.clone().unwrap_or_default();
    let mut plan = Plan::default();
    if status.phase.as_deref() != Some(phase) {
        let mut changed = claim.clone();
        let status = changed.status.get_or_insert_default();
        status.phase = Some(phase.to_owned());
        if phase == "Pending" {
            (status.capacity, status.access_modes) = (None, None);
        }
        plan = Plan::write(Write::ClaimStatus(Box::new(changed)));
    } else if phase == "Lost" {
        // Said once, when it happened.
        return plan;
    }
    match event {
        Some(event) => plan.and(event),
        None => plan,
    }
}
