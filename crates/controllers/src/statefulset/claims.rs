//! To whom the claims of a StatefulSet's pods belong, so that they go with it or stay. Pure.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::common::owner::controller_reference;

/// The references that a claim has after the policy of the set; none if it has them already. `condemned` says that its
/// pod is beyond the number of replicas.
pub(super) fn owners(
    set: &StatefulSet,
    pod: &Pod,
    claim: &PersistentVolumeClaim,
    condemned: bool,
) -> Option<Vec<OwnerReference>> {
    let policy = set.spec.persistent_volume_claim_retention_policy.clone().unwrap_or_default();
    let goes = |when: &Option<String>| when.as_deref() == Some("Delete");
    let (deleted, scaled) = (goes(&policy.when_deleted), goes(&policy.when_scaled));
    let before = claim.metadata.owner_references.clone().unwrap_or_default();
    let ours = |reference: &OwnerReference| {
        let of = |uid: &Option<String>| uid.as_ref() == Some(&reference.uid);
        of(&set.metadata.uid) || of(&pod.metadata.uid)
    };
    let mut after: Vec<_> = before.iter().filter(|reference| !ours(reference)).cloned().collect();
    if after.iter().any(|reference| reference.controller == Some(true)) {
        // Somebody else's claim by now.
        return None;
    }
    if scaled && condemned {
        after.push(controller_reference(pod));
    } else if deleted {
        after.push(controller_reference(set));
    }
    (after != before).then_some(after)
}
