//! Which pods use which claims.

use client::volumes::claims_of;
use client::{Informer, ObjectKey};
use k8s_openapi::api::core::v1::Pod;

/// Index of pods by their claims, as `namespace/name`.
pub(crate) const BY_CLAIM: &str = "claim";

pub(crate) fn index_by_claim(pods: &Informer<Pod>) {
    pods.add_index(BY_CLAIM, |pod| keys(pod).iter().map(ToString::to_string).collect());
}

/// The claims that a pod uses.
pub(crate) fn keys(pod: &Pod) -> Vec<ObjectKey> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    claims_of(pod).into_iter().map(|(name, _)| ObjectKey::new(namespace, name)).collect()
}
