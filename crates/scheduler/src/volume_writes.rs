//! Writes what was decided about the volumes of a pod.

use client::volumes::{BOUND_BY_CONTROLLER, SELECTED_NODE, annotation, claim_ref, reference_to};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use crate::plugins::volume_binding::VolumePlan;

/// Gives volumes to claims, and tells provisioners the node. Fails when somebody else wrote in between.
pub(crate) async fn carry_out(client: &kube::Client, plan: &VolumePlan, node: &str) -> kube::Result<()> {
    for (volume, claim) in &plan.bind {
        let mut given = (**volume).clone();
        if claim_ref(volume).is_none() {
            let annotations = given.metadata.annotations.get_or_insert_default();
            annotations.insert(BOUND_BY_CONTROLLER.to_owned(), "yes".to_owned());
        }
        given.spec.get_or_insert_default().claim_ref = Some(reference_to(claim));
        let name = given.metadata.name.clone().unwrap_or_default();
        Api::<PersistentVolume>::all(client.clone()).replace(&name, &PostParams::default(), &given).await?;
    }
    for claim in plan.select.iter().filter(|claim| annotation(&claim.metadata, SELECTED_NODE).is_none()) {
        let meta = &claim.metadata;
        let patch = json!({"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version,
            "annotations": {SELECTED_NODE: node}}});
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let api = Api::<PersistentVolumeClaim>::namespaced(client.clone(), namespace);
        api.patch(meta.name.as_deref().unwrap_or_default(), &PatchParams::default(), &Patch::Merge(&patch)).await?;
    }
    Ok(())
}
