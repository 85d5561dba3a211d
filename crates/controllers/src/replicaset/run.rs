//! Reads ReplicaSets and pods, makes and deletes pods, writes the status.

use std::collections::{HashMap, HashSet};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use api::selector::LabelSelector;
use client::{Informer, ObjectKey, Outcome, Reconciler, Runner, Selection, reference};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ObjectMeta;
use tokio_util::sync::CancellationToken;

use super::kind::Replicated;
use super::plan::{self, Action};
use crate::common::claimant::Claimant;
use crate::common::expectations::Expectations;
use crate::common::pod_control::{PodControl, message};
use crate::common::{owner, pods, slow_start, status};
use crate::context::{Context, start};

const WORKERS: usize = 5;

/// The sets of one kind, each seen as a ReplicaSet.
struct ReplicaSets<K> {
    control: PodControl,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
    kind: PhantomData<fn() -> K>,
}

pub(crate) async fn run<K: Replicated>(context: Context, shutdown: CancellationToken) {
    let sets = context.informers.project::<K, ReplicaSet>(Selection::default(), K::view);
    let pods = context.pods();
    pods::index_by_owner(&pods);
    let expectations = Arc::new(Expectations::default());
    let (client, events) = (context.client(K::ACCOUNT), context.recorder(K::ACCOUNT));
    let control = PodControl { client, events, expectations: Arc::clone(&expectations) };
    let reconciler = Arc::new(ReplicaSets::<K> { control, sets: sets.clone(), pods: pods.clone(), kind: PhantomData });
    // Before the runner's own handlers: what is queued by a change must find it counted.
    let _seen = pods.on_change(move |change| expectations.observe(&K::kind(&()), change));
    let orphans = sets.clone();
    let runner = Runner::new(reconciler, WORKERS)
        .watch(&sets, |set: &ReplicaSet| Some(ObjectKey::of(&set.metadata)))
        .watch(&pods, move |pod: &Pod| owners(&K::kind(&()), &orphans, &pod.metadata));
    let synced = async {
        sets.synced().await;
        pods.synced().await;
    };
    start(runner, synced, shutdown).await;
}

/// The set of a pod; of a pod without controller every set that may want it.
fn owners(kind: &str, sets: &Informer<ReplicaSet>, meta: &ObjectMeta) -> Vec<ObjectKey> {
    if owner::controller_of(meta).is_some() {
        return owner::owned_by(kind, meta).into_iter().collect();
    }
    let labels = meta.labels.clone().unwrap_or_default();
    let sets = sets.list_namespace(meta.namespace.as_deref().unwrap_or_default());
    let wanting = sets.iter().filter(|set| selector(set).is_some_and(|selector| selector.matches(&labels)));
    wanting.map(|set| ObjectKey::of(&set.metadata)).collect()
}

fn selector(set: &ReplicaSet) -> Option<LabelSelector> {
    client::selector(Some(&set.spec.selector)).filter(|selector| !selector.is_empty())
}

impl<K: Replicated> Reconciler for ReplicaSets<K> {
    type Key = ObjectKey;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        K::ACCOUNT
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, kube::Error> {
        let Some(set) = self.sets.find(key) else {
            self.control.expectations.forget(key);
            return Ok(Outcome::Done);
        };
        let Some(selector) = selector(&set) else { return Ok(Outcome::Done) };
        let trusted = self.control.expectations.satisfied(key);
        let adopts = |pod: &Pod| !pods::is_finished(pod);
        let reference = owner::controller_reference_of::<K>(&set.metadata);
        let claimant = Claimant { meta: &set.metadata, reference, selector: &selector, adopts };
        let owned = claimant.pods(&self.control.client, &self.pods).await?;
        let managed = match trusted && set.metadata.deletion_timestamp.is_none() {
            true => self.manage(key, &set, &owned).await,
            false => Ok(()),
        };
        let now = Timestamp::now();
        let failure = managed.as_ref().err().map(|(reason, error)| (*reason, message(error)));
        let status = plan::status(&set, &owned, failure, now);
        let api = Api::<K>::namespaced(self.control.client.clone(), &key.namespace);
        let write =
            |object: &mut K| *object = K::of(ReplicaSet { status: Some(status.clone()), ..object.clone().view() });
        match status::write_status(&api, &K::of((*set).clone()), write).await {
            Err(error) if !client::write::is_not_found(&error) => return Err(error),
            _ => {}
        }
        managed.map_err(|(_, error)| error)?;
        let next = plan::next_available(&set, &owned, now);
        // A little later, so that the clock has surely passed it.
        Ok(next.map_or(Outcome::Done, |wait| Outcome::RequeueAfter(wait + Duration::from_millis(10))))
    }
}

impl<K: Replicated> ReplicaSets<K> {
    async fn manage(
        &self,
        key: &ObjectKey,
        set: &ReplicaSet,
        owned: &[Arc<Pod>],
    ) -> Result<(), (&'static str, kube::Error)> {
        let active: Vec<_> = owned.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
        let surplus = active.len() > plan::wanted(set);
        let related = if surplus { self.related(set) } else { HashMap::new() };
        match plan::manage(set, &active, &related, Timestamp::now()) {
            Action::Nothing => Ok(()),
            Action::Create(count) => self.create(key, set, count).await.map_err(|error| ("FailedCreate", error)),
            Action::Delete(victims) => self.delete(key, set, victims).await.map_err(|error| ("FailedDelete", error)),
        }
    }

    /// Pods of all sets of the same owner, by node.
    fn related(&self, set: &ReplicaSet) -> HashMap<String, usize> {
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        let own = set.metadata.uid.as_deref();
        let family = owner::controller_of(&set.metadata).map(|owner| owner.uid.clone());
        let siblings = self.sets.list_namespace(namespace).into_iter().filter(|other| {
            other.metadata.uid.as_deref() == own
                || (family.is_some()
                    && owner::controller_of(&other.metadata).map(|owner| &owner.uid) == family.as_ref())
        });
        let uids: HashSet<_> = siblings.filter_map(|set| set.metadata.uid.clone()).collect();
        let mut nodes = HashMap::new();
        let related = uids.iter().flat_map(|uid| self.pods.by_index(pods::BY_OWNER, uid));
        for pod in related.filter(|pod| pods::is_active(pod)) {
            if let Some(node) = pods::node(&pod) {
                *nodes.entry(node.to_owned()).or_insert(0) += 1;
            }
        }
        nodes
    }

    async fn create(&self, key: &ObjectKey, set: &ReplicaSet, count: usize) -> kube::Result<()> {
        let Some(template) = set.spec.template.as_ref() else { return Ok(()) };
        let pod = pods::from_template(template, owner::controller_reference_of::<K>(&set.metadata), &key.namespace);
        let object = reference(&K::of(set.clone()));
        self.control.expectations.expect(key, count, HashSet::new());
        let calls = (0..count).map(|_| self.control.create(key, &object, &pod)).collect();
        let calls = slow_start::batches(calls).await;
        (0..calls.left).for_each(|_| self.control.expectations.created(key));
        calls.failure.map_or(Ok(()), Err)
    }

    async fn delete(&self, key: &ObjectKey, set: &ReplicaSet, victims: Vec<Arc<Pod>>) -> kube::Result<()> {
        let uids = victims.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
        self.control.expectations.expect(key, 0, uids);
        let object = reference(&K::of(set.clone()));
        join_all(victims.iter().map(|pod| self.control.delete(key, &object, pod))).await.into_iter().collect()
    }
}
