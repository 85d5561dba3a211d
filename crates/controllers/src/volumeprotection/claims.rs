//! pvc-protection: a claim that pods use stays.

use std::sync::Arc;

use client::{Informer, ObjectKey, Outcome, Reconciler, Runner};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::ListParams;
use tokio_util::sync::CancellationToken;

use super::plan::{self, Action};
use crate::common::{claims, finalizer};
use crate::context::{Context, start};

const ACCOUNT: &str = "pvc-protection-controller";

struct Protection {
    client: kube::Client,
    claims: Informer<PersistentVolumeClaim>,
    pods: Informer<Pod>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let claims = context.informers.get::<PersistentVolumeClaim>();
    let pods = context.pods();
    claims::index_by_claim(&pods);
    let client = context.client(ACCOUNT);
    let there = claims.clone();
    let runner = Runner::new(Arc::new(Protection { client, claims: claims.clone(), pods: pods.clone() }), 2)
        .watch(&claims, |claim: &PersistentVolumeClaim| Some(ObjectKey::of(&claim.metadata)))
        .watch(&pods, move |pod: &Pod| {
            let mut keys = claims::keys(pod);
            keys.retain(|key| there.find(key).is_some_and(|claim| claim.metadata.deletion_timestamp.is_some()));
            keys
        });
    let synced = async {
        pods.synced().await;
        claims.synced().await;
    };
    start(runner, synced, shutdown).await;
}

impl Reconciler for Protection {
    type Key = ObjectKey;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "pvc-protection"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, kube::Error> {
        let Some(claim) = self.claims.find(key) else { return Ok(Outcome::Done) };
        let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), &key.namespace);
        match plan::action(&claim.metadata, plan::CLAIM) {
            Action::Keep => {}
            Action::Add => finalizer::add(&api, &*claim, plan::CLAIM).await?,
            Action::Remove => {
                if !self.is_used(key, &claim).await? {
                    finalizer::remove(&api, &*claim, plan::CLAIM).await?;
                }
            }
        }
        Ok(Outcome::Done)
    }
}

impl Protection {
    /// That nobody uses it is asked of the API server: the cache may lag behind.
    async fn is_used(&self, key: &ObjectKey, claim: &PersistentVolumeClaim) -> kube::Result<bool> {
        let known = self.pods.by_index(claims::BY_CLAIM, &key.to_string());
        if known.iter().any(|pod| plan::uses(pod, claim)) {
            return Ok(true);
        }
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        let pods = api.list(&ListParams::default()).await?;
        Ok(pods.items.iter().any(|pod| plan::uses(pod, claim)))
    }
}
