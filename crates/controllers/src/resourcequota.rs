//! ResourceQuotas: counts what is used. The apiserver adds to it what it lets in; here is what goes, and the whole now
//! and then.
//!
//! <https://kubernetes.io/docs/concepts/policy/resource-quotas/>

mod objects;
mod plan;

use std::sync::Arc;
use std::time::Duration;

use client::{Change, Informer, ObjectKey, Outcome, Reconciler, Runner, WorkQueue, write};
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::Api;
use kube::api::PostParams;
use tokio_util::sync::CancellationToken;

use crate::common::pods;
use crate::context::{Context, start};
use objects::Objects;

const ACCOUNT: &str = "resourcequota-controller";
const WORKERS: usize = 3;
/// The whole is counted anew after this, whatever happened.
const ANEW: Duration = Duration::from_secs(300);
/// What was let in is in the caches after this.
const SETTLE: Duration = Duration::from_secs(1);

struct Quotas {
    client: kube::Client,
    quotas: Informer<ResourceQuota>,
    objects: Objects,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let quotas = context.informers.get::<ResourceQuota>();
    let pods = context.pods();
    let client = context.client(ACCOUNT);
    let queue = WorkQueue::new();
    let objects = Objects::new(context.informers.clone(), client.clone(), pods.clone(), freed(&quotas, &queue));
    let reconciler = Arc::new(Quotas { client, quotas: quotas.clone(), objects });
    let runner = Runner::with_queue(reconciler, WORKERS, queue.clone());
    let _changed = quotas.on_change({
        let queue = queue.clone();
        move |change| {
            if let Change::Applied { key, old, new } = change
                && old.as_ref().is_none_or(|old| old.spec != new.spec)
            {
                queue.add(key.clone());
            }
        }
    });
    let (known, freed) = (quotas.clone(), freed(&quotas, &queue));
    let _ended = pods.on_change(move |change| {
        let ended = match change {
            Change::Applied { old: Some(old), new, .. } => pods::is_finished(new) && !pods::is_finished(old),
            Change::Deleted { .. } => true,
            _ => false,
        };
        if let Change::Applied { key, .. } | Change::Deleted { key, .. } = change
            && ended
            && !known.is_empty()
        {
            freed(&key.namespace);
        }
    });
    let synced = async {
        quotas.synced().await;
        pods.synced().await;
    };
    start(runner, synced, shutdown).await;
}

/// Queues the quotas of a namespace in which something has gone.
fn freed(
    quotas: &Informer<ResourceQuota>,
    queue: &WorkQueue<ObjectKey>,
) -> impl Fn(&str) + Clone + Send + Sync + 'static {
    let (quotas, queue) = (quotas.clone(), queue.clone());
    move |namespace: &str| {
        for quota in quotas.list_namespace(namespace) {
            queue.add(ObjectKey::of(&quota.metadata));
        }
    }
}

impl Reconciler for Quotas {
    type Key = ObjectKey;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "resourcequota"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, kube::Error> {
        let Some(quota) = self.quotas.find(key) else { return Ok(Outcome::Done) };
        let api = Api::<ResourceQuota>::namespaced(self.client.clone(), &key.namespace);
        let needed = plan::needed(&quota);
        let objects = self.objects.of(&key.namespace, &needed).await?;
        let status = plan::status(&quota, &objects);
        let again = if quota.status.as_ref() == Some(&status) { ANEW } else { SETTLE };
        if quota.status.as_ref() != Some(&status) {
            let new = ResourceQuota { status: Some(status), ..(*quota).clone() };
            // As what was looked at, or not at all: something may have been let in meanwhile.
            match api.replace_status(&key.name, &PostParams::default(), &new).await {
                Err(error) if write::is_not_found(&error) => return Ok(Outcome::Done),
                other => drop(other?),
            }
        }
        Ok(Outcome::RequeueAfter(again))
    }
}
