//! Makes the claims of volumes that live as long as their pod (ephemeral-volume controller).

use std::sync::Arc;

use client::volumes::{belongs_to, claim_of};
use client::{EventRecorder, Informer, ObjectKey, Outcome, Reconciler, Runner};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;
use tokio_util::sync::CancellationToken;

use crate::common::{claims, owner, pods};
use crate::context::{Context, start};

const ACCOUNT: &str = "ephemeral-volume-controller";
const WORKERS: usize = 4;

struct EphemeralVolumes {
    client: kube::Client,
    events: EventRecorder,
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let pods = context.pods();
    let claims = context.informers.get::<PersistentVolumeClaim>();
    claims::index_by_claim(&pods);
    let reconciler = EphemeralVolumes {
        client: context.client(ACCOUNT),
        events: context.recorder("ephemeral_volume"),
        pods: pods.clone(),
        claims: claims.clone(),
    };
    let runner = Runner::new(Arc::new(reconciler), WORKERS)
        .watch(&pods, |pod: &Pod| (!wanted(pod).is_empty()).then(|| ObjectKey::of(&pod.metadata)));
    let queue = runner.queue();
    let there = pods.clone();
    // A claim of the same name that stood in the way, or one that somebody deleted.
    let _gone = claims.on_change(move |change| {
        if let client::Change::Deleted { key, .. } = change {
            let users = there.by_index(claims::BY_CLAIM, &key.to_string());
            users.iter().for_each(|pod| queue.add(ObjectKey::of(&pod.metadata)));
        }
    });
    let synced = async {
        claims.synced().await;
        pods.synced().await;
    };
    start(runner, synced, shutdown).await;
}

/// The claims that a pod is to have of its own. Pure.
fn wanted(pod: &Pod) -> Vec<PersistentVolumeClaim> {
    if !pods::is_active(pod) {
        return Vec::new();
    }
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let own = volumes.filter_map(|volume| {
        let template = volume.ephemeral.as_ref()?.volume_claim_template.clone()?;
        let (claim, _) = claim_of(name, volume)?;
        let meta = template.metadata.unwrap_or_default();
        Some(PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(claim),
                namespace: pod.metadata.namespace.clone(),
                labels: meta.labels,
                annotations: meta.annotations,
                owner_references: Some(vec![owner::controller_reference(pod)]),
                ..ObjectMeta::default()
            },
            spec: Some(template.spec),
            status: None,
        })
    });
    own.collect()
}

impl Reconciler for EphemeralVolumes {
    type Key = ObjectKey;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "ephemeral-volume"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, kube::Error> {
        let Some(pod) = self.pods.find(key) else { return Ok(Outcome::Done) };
        let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), &key.namespace);
        for claim in wanted(&pod) {
            let name = claim.metadata.name.clone().unwrap_or_default();
            match self.claims.get(&key.namespace, &name) {
                Some(there) if belongs_to(&there.metadata, pod.metadata.uid.as_deref()) => {}
                Some(_) => {
                    let message =
                        format!("PVC {}/{name} was not created for pod {key} (pod is not owner)", key.namespace);
                    self.events.warning(&client::reference(&*pod), "FailedBinding", message);
                }
                None => match api.create(&PostParams::default(), &claim).await {
                    Err(error) if client::write::is_already_exists(&error) => {}
                    Err(error) => {
                        let message = format!("ephemeral volume: create PVC {name}: {error}");
                        self.events.warning(&client::reference(&*pod), "FailedBinding", message);
                        return Err(error);
                    }
                    Ok(_) => {}
                },
            }
        }
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_gets_a_claim_for_each_ephemeral_volume_and_owns_it() {
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"accessModes": ["ReadWriteOnce"]}});
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "1"},
            "spec": {"containers": [], "volumes": [
                {"name": "x", "ephemeral": {"volumeClaimTemplate": template}}, {"name": "y", "emptyDir": {}}]}}))
        .unwrap();
        let claims = wanted(&pod);
        let [claim] = claims.as_slice() else { panic!("{claims:?}") };
        assert_eq!(claim.metadata.name.as_deref(), Some("p-x"));
        assert!(belongs_to(&claim.metadata, Some("1")) && !belongs_to(&claim.metadata, Some("2")));
        pod.status = serde_json::from_value(json!({"phase": "Succeeded"})).unwrap();
        assert!(wanted(&pod).is_empty());
    }
}
