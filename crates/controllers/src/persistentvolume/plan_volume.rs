//! What is to be written next for a volume. Pure.

use client::volumes::{self, annotation};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

use super::plan::{Event, Plan, Write, volume_phase, warning, with_phase};

/// The next write for a volume. `claim` is the one that it names, none if that is gone.
pub(super) fn volume(volume: &PersistentVolume, claim: Option<&PersistentVolumeClaim>) -> Plan {
    let Some(reference) = volumes::claim_ref(volume) else { return phase(volume, "Available", "", None) };
    let uid = reference.uid.as_deref().unwrap_or_default();
    if uid.is_empty() {
        // Reserved for a claim that is not bound yet.
        return phase(volume, "Available", "", None);
    }
    let claim = claim.filter(|claim| claim.metadata.uid.as_deref() == Some(uid));
    let Some(claim) = claim else { return released(volume) };
    let named = volumes::volume_name(claim);
    if named.is_empty() {
        // The claim's own turn does the rest.
        return Plan::default();
    }
    if Some(named) == volume.metadata.name.as_deref() {
        return phase(volume, "Bound", "", None);
    }
    // The claim found another volume.
    if annotation(&volume.metadata, volumes::PROVISIONED_BY).is_some() && policy(volume) == "Delete" {
        return released(volume);
    }
    let mut changed = volume.clone();
    let by_controller = annotation(&volume.metadata, volumes::BOUND_BY_CONTROLLER).is_some();
    if let Some(annotations) = &mut changed.metadata.annotations {
        annotations.remove(volumes::BOUND_BY_CONTROLLER);
    }
    if let Some(spec) = &mut changed.spec {
        match &mut spec.claim_ref {
            // Whoever reserved it meant the name.
            Some(reference) if !by_controller => reference.uid = None,
            reference => *reference = None,
        }
    }
    Plan::write(Write::Volume(Box::new(changed)))
}

fn policy(volume: &PersistentVolume) -> &str {
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    policy.unwrap_or("Retain")
}

/// Its claim is gone: what then depends on the reclaim policy.
fn released(volume: &PersistentVolume) -> Plan {
    if !matches!(volume_phase(volume), "Released" | "Failed") {
        return phase(volume, "Released", "", None);
    }
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    match policy(volume) {
        "Retain" => Plan::default(),
        // Its provisioner deletes it.
        "Delete" if annotation(&volume.metadata, volumes::PROVISIONED_BY).is_some() => Plan::default(),
        "Delete" => {
            let message =
                format!("error getting deleter volume plugin for volume {name:?}: no deletable volume plugin matched");
            let event = warning("VolumeFailedDelete", message.clone());
            phase(volume, "Failed", &message, Some(event))
        }
        "Recycle" => {
            let message = "No recycler plugin found for the volume!";
            phase(volume, "Failed", message, Some(warning("VolumeFailedRecycle", message)))
        }
        other => {
            let message = format!("Volume has an unrecognized PersistentVolumeReclaimPolicy: {other}");
            phase(volume, "Failed", &message, Some(warning("VolumeUnknownReclaimPolicy", message.clone())))
        }
    }
}

fn phase(volume: &PersistentVolume, phase: &str, message: &str, event: Option<Event>) -> Plan {
    if volume_phase(volume) == phase {
        return Plan::default();
    }
    Plan { write: Some(Write::VolumeStatus(Box::new(with_phase(volume, phase, message)))), event }
}
