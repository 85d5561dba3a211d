//! Whether something is in use, and what finalizers it is to have. Pure.

use client::volumes::{belongs_to, claim_of};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::common::pods;

pub(super) const CLAIM: &str = "kubernetes.io/pvc-protection";
pub(super) const VOLUME: &str = "kubernetes.io/pv-protection";

/// What is to happen with the finalizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Keep,
    Add,
    /// If nobody uses the object.
    Remove,
}

pub(super) fn action(meta: &ObjectMeta, finalizer: &str) -> Action {
    let there = meta.finalizers.iter().flatten().any(|known| known == finalizer);
    match (meta.deletion_timestamp.is_some(), there) {
        (true, true) => Action::Remove,
        (false, false) => Action::Add,
        _ => Action::Keep,
    }
}

pub(super) fn is_bound(volume: &PersistentVolume) -> bool {
    volume.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Bound"))
}

/// Whether the pod uses the claim. One without a node never will: the kubelet turns it away.
pub(super) fn uses(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let mut volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    pods::node(pod).is_some()
        && volumes.any(|volume| match claim_of(name, volume) {
            Some((used, own)) if Some(&used) == claim.metadata.name.as_ref() => {
                !own || (!pods::is_finished(pod) && belongs_to(&claim.metadata, pod.metadata.uid.as_deref()))
            }
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(node: &str, volume: serde_json::Value, phase: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "uid": "1"}, "status": {"phase": phase},
            "spec": {"nodeName": node, "containers": [], "volumes": [volume]}}))
        .unwrap()
    }

    #[test]
    fn who_uses_a_claim() {
        let owner = json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1", "controller": true}]);
        let claim = |name: &str, owners: serde_json::Value| -> PersistentVolumeClaim {
            serde_json::from_value(json!({"metadata": {"name": name, "ownerReferences": owners}})).unwrap()
        };
        let by_name = json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}});
        let own = json!({"name": "v", "ephemeral": {}});
        let c = claim("c", json!([]));
        assert!(uses(&pod("n", by_name.clone(), "Running"), &c));
        assert!(uses(&pod("n", by_name.clone(), "Succeeded"), &c));
        assert!(!uses(&pod("", by_name, "Pending"), &c));
        assert!(uses(&pod("n", own.clone(), "Running"), &claim("p-v", owner.clone())));
        assert!(!uses(&pod("n", own.clone(), "Succeeded"), &claim("p-v", owner)));
        assert!(!uses(&pod("n", own, "Running"), &claim("p-v", json!([]))));
    }

    #[test]
    fn finalizers_come_with_life_and_go_with_deletion() {
        let meta = |value: serde_json::Value| serde_json::from_value::<ObjectMeta>(value).unwrap();
        let at = "2026-01-01T00:00:00Z";
        assert_eq!(action(&meta(json!({})), CLAIM), Action::Add);
        assert_eq!(action(&meta(json!({"finalizers": [CLAIM]})), CLAIM), Action::Keep);
        assert_eq!(action(&meta(json!({"finalizers": [CLAIM], "deletionTimestamp": at})), CLAIM), Action::Remove);
        assert_eq!(action(&meta(json!({"deletionTimestamp": at})), CLAIM), Action::Keep);
    }
}
