//! Volumes that pods claim: which folder a claim stands for. Pure.

use std::path::PathBuf;

use client::volumes::{belongs_to, claim_ref, is_fully_bound};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};

use crate::spec;

/// Where the data of a claim is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// What has to be there, as `hostPath.type` says.
    pub(super) check: String,
    /// Files are given to the pod's group.
    pub(super) group: bool,
    /// One pod at a time.
    pub(super) exclusive: bool,
}

/// The name of the volume of a claim, or why the pod has to wait.
pub(super) fn volume_name(
    claim: Option<&PersistentVolumeClaim>,
    name: &str,
    own: bool,
    pod: &Pod,
) -> Result<String, String> {
    let key = format!("{}/{name}", spec::namespace(pod));
    let failed = |why: String| Err(format!("error processing PVC {key}: {why}"));
    let Some(claim) = claim else {
        return failed(format!("failed to fetch PVC from API server: persistentvolumeclaims \"{name}\" not found"));
    };
    if claim.metadata.deletion_timestamp.is_some() {
        return failed("can't start pod because PVC is being deleted".to_owned());
    }
    if own && !belongs_to(&claim.metadata, pod.metadata.uid.as_deref()) {
        let pod = format!("{}/{}", spec::namespace(pod), spec::name(pod));
        return failed(format!("PVC {key} was not created for pod {pod} (pod is not owner)"));
    }
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    if !is_fully_bound(claim) || phase != Some("Bound") {
        return failed("PVC is not bound".to_owned());
    }
    Ok(client::volumes::volume_name(claim).to_owned())
}

/// The folder of a claim's volume, or why there is none.
pub(super) fn source(claim: &PersistentVolumeClaim, volume: Option<&PersistentVolume>) -> Result<Source, String> {
    let name = client::volumes::volume_name(claim);
    let volume = volume.ok_or_else(|| format!("persistentvolumes \"{name}\" not found"))?;
    if claim_ref(volume).is_none_or(|reference| reference.uid != claim.metadata.uid) {
        return Err(format!("persistent volume \"{name}\" is not bound to this claim"));
    }
    let spec = volume.spec.clone().unwrap_or_default();
    if spec.volume_mode.as_deref() == Some("Block") {
        return Err("block volumes are not supported yet".to_owned());
    }
    let exclusive = client::volumes::access_modes(claim).iter().any(|mode| mode == "ReadWriteOncePod");
    let found = |path: String, check: String, group| Source { path: PathBuf::from(path), check, group, exclusive };
    match (spec.host_path, spec.local, spec.csi) {
        (Some(host), _, _) => Ok(found(host.path, host.type_.unwrap_or_default(), false)),
        (None, Some(local), _) => Ok(found(local.path, "Directory".to_owned(), true)),
        (None, None, Some(csi)) => Err(format!("CSI drivers are not supported yet ({})", csi.driver)),
        _ => Err("persistent volumes of this kind are not supported yet".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn claim(more: Value) -> PersistentVolumeClaim {
        let mut all = json!({"metadata": {"name": "c", "namespace": "ns", "uid": "1",
            "annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
            "spec": {"volumeName": "v", "accessModes": ["ReadWriteOncePod"]}, "status": {"phase": "Bound"}});
        for (key, value) in more.as_object().unwrap() {
            all[key].as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        }
        serde_json::from_value(all).unwrap()
    }

    fn pod() -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns", "uid": "p1"}})).unwrap()
    }

    #[test]
    fn what_a_pod_waits_for() {
        let said = |claim: Option<&PersistentVolumeClaim>, own| volume_name(claim, "c", own, &pod());
        assert_eq!(said(Some(&claim(json!({}))), false).unwrap(), "v");
        assert!(said(None, false).unwrap_err().contains("not found"));
        assert!(said(Some(&claim(json!({"status": {"phase": "Pending"}}))), false).unwrap_err().contains("not bound"));
        let deleted = claim(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
        assert!(said(Some(&deleted), false).unwrap_err().contains("being deleted"));
        assert!(said(Some(&claim(json!({}))), true).unwrap_err().contains("not owner"));
    }

    #[test]
    fn folders_of_volumes() {
        let volume = |spec: Value, uid: &str| -> PersistentVolume {
            let mut spec = spec;
            spec["claimRef"] = json!({"uid": uid});
            serde_json::from_value(json!({"metadata": {"name": "v"}, "spec": spec})).unwrap()
        };
        let of = |volume: &PersistentVolume| source(&claim(json!({})), Some(volume));
        let local = of(&volume(json!({"local": {"path": "/l"}}), "1")).unwrap();
        assert_eq!((local.path.to_str(), local.group, local.exclusive), (Some("/l"), true, true));
        let host = of(&volume(json!({"hostPath": {"path": "/h", "type": "File"}}), "1")).unwrap();
        assert_eq!((host.check.as_str(), host.group), ("File", false));
        assert!(of(&volume(json!({"local": {"path": "/l"}}), "2")).unwrap_err().contains("not bound to this claim"));
        let csi = volume(json!({"csi": {"driver": "d", "volumeHandle": "h"}}), "1");
        assert!(of(&csi).unwrap_err().contains("not supported yet"));
    }
}
