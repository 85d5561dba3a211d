//! Lets bound claims grow (expand controller): those of volumes that are folders at once, of others it says who has to.

use std::sync::Arc;

use client::volumes::{self, annotation, capacity, granted, requested};
use client::{EventRecorder, Informer, ObjectKey, Outcome, Reconciler, Runner, write};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimCondition};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::common::status::write_status;
use crate::context::{Context, start};
use crate::localpath;

const ACCOUNT: &str = "expand-controller";
const RESIZING: &str = "Resizing";

struct Expand {
    client: kube::Client,
    events: EventRecorder,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let claims = context.informers.get::<PersistentVolumeClaim>();
    let volumes = context.informers.get::<PersistentVolume>();
    let reconciler = Expand {
        client: context.client(ACCOUNT),
        events: context.recorder("volume_expand"),
        claims: claims.clone(),
        volumes: volumes.clone(),
    };
    let runner = Runner::new(Arc::new(reconciler), 2)
        .watch(&claims, |claim: &PersistentVolumeClaim| grows(claim).then(|| ObjectKey::of(&claim.metadata)))
        .watch(&volumes, volumes::claim_key);
    let synced = async {
        volumes.synced().await;
        claims.synced().await;
    };
    start(runner, synced, shutdown).await;
}

fn grows(claim: &PersistentVolumeClaim) -> bool {
    let bound = claim.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Bound"));
    bound && requested(claim) > granted(claim)
}

/// What comes next for a claim that is to grow.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Nothing is to be done, or it is not known how.
    None,
    /// Somebody outside has to.
    External,
    /// Says on the claim that it is being resized.
    Begin,
    /// The volume is as large as the claim wants.
    Volume(String),
    /// The claim has what it wants.
    Finish(String),
}

/// Pure.
fn next(claim: &PersistentVolumeClaim, volume: Option<&PersistentVolume>) -> Step {
    let Some(volume) = volume.filter(|volume| grows(claim) && volumes::is_for(volume, claim)) else {
        return Step::None;
    };
    if annotation(&volume.metadata, volumes::PROVISIONED_BY) != Some(localpath::PROVISIONER) {
        return Step::External;
    }
    let conditions = claim.status.iter().flat_map(|status| status.conditions.iter().flatten());
    if !conditions.into_iter().any(|condition| condition.type_ == RESIZING) {
        return Step::Begin;
    }
    let size = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage"));
    let size = size.map(|size| size.0.clone()).unwrap_or_default();
    if capacity(volume) < requested(claim) { Step::Volume(size) } else { Step::Finish(size) }
}

impl Reconciler for Expand {
    type Key = ObjectKey;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "volume-expand"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, kube::Error> {
        let Some(claim) = self.claims.find(key) else { return Ok(Outcome::Done) };
        let volume = self.volumes.get("", volumes::volume_name(&claim));
        let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), &key.namespace);
        match next(&claim, volume.as_deref()) {
            Step::None => {}
            Step::External => {
                let message = "waiting for an external controller to expand this PVC";
                self.events.normal(&client::reference(&*claim), "ExternalExpanding", message);
            }
            Step::Begin => {
                write_status(&api, &*claim, begin).await?;
            }
            Step::Volume(size) => {
                let patch = json!({"spec": {"capacity": {"storage": size}}});
                let volumes = Api::<PersistentVolume>::all(self.client.clone());
                let name = volumes::volume_name(&claim);
                match volumes.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                    Err(error) if write::is_not_found(&error) => {}
                    other => drop(other?),
                }
            }
            Step::Finish(size) => {
                write_status(&api, &*claim, |claim| finish(claim, &size)).await?;
                let message = format!("ExpandVolume succeeded for volume {key}");
                self.events.normal(&client::reference(&*claim), "VolumeResizeSuccessful", message);
            }
        }
        Ok(Outcome::Done)
    }
}

fn begin(claim: &mut PersistentVolumeClaim) {
    let conditions = claim.status.get_or_insert_default().conditions.get_or_insert_default();
    if conditions.iter().all(|condition| condition.type_ != RESIZING) {
        conditions.push(PersistentVolumeClaimCondition {
            type_: RESIZING.to_owned(),
            status: "True".to_owned(),
            last_transition_time: Some(Time(Timestamp::now())),
            ..Default::default()
        });
    }
}

fn finish(claim: &mut PersistentVolumeClaim, size: &str) {
    let status = claim.status.get_or_insert_default();
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| !matches!(condition.type_.as_str(), RESIZING | "FileSystemResizePending"));
    }
    status.capacity.get_or_insert_default().insert("storage".to_owned(), Quantity(size.to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_grows_in_three_steps_others_wait_for_their_driver() {
        let claim = |size: &str, conditions: serde_json::Value| -> PersistentVolumeClaim {
            serde_json::from_value(json!({"metadata": {"name": "c", "namespace": "ns", "uid": "1"},
                "spec": {"volumeName": "v", "resources": {"requests": {"storage": size}}},
                "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "conditions": conditions}}))
            .unwrap()
        };
        let volume = |size: &str, by: &str| -> PersistentVolume {
            serde_json::from_value(json!({"metadata": {"name": "v", "annotations": {volumes::PROVISIONED_BY: by}},
                "spec": {"capacity": {"storage": size}, "claimRef": {"name": "c", "namespace": "ns", "uid": "1"}}}))
            .unwrap()
        };
        let small = volume("1Gi", localpath::PROVISIONER);
        assert_eq!(next(&claim("1Gi", json!([])), Some(&small)), Step::None);
        assert_eq!(next(&claim("2Gi", json!([])), None), Step::None);
        assert_eq!(next(&claim("2Gi", json!([])), Some(&volume("1Gi", "x"))), Step::External);
        let mut growing = claim("2Gi", json!([]));
        assert_eq!(next(&growing, Some(&small)), Step::Begin);
        begin(&mut growing);
        assert_eq!(next(&growing, Some(&small)), Step::Volume("2Gi".into()));
        assert_eq!(next(&growing, Some(&volume("2Gi", localpath::PROVISIONER))), Step::Finish("2Gi".into()));
        finish(&mut growing, "2Gi");
        assert_eq!(next(&growing, Some(&small)), Step::None);
        assert_eq!(growing.status.unwrap().conditions.unwrap(), []);
    }
}
