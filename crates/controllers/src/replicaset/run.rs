//! Reads ReplicaSets and pods, makes and deletes pods, writes the status.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use api::selector::LabelSelector;
use client::{EventRecorder, Informer, ObjectKey, Outcome, Reconciler, Runner, reference};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};
use tokio_util::sync::CancellationToken;

use super::plan::{self, Action};
use crate::common::expectations::Expectations;
use crate::common::owner::{self, Claim};
use crate::common::{pods, slow_start, status};
use crate::context::{Context, start};

const ACCOUNT: &str = "replicaset-controller";
const KIND: &str = "ReplicaSet";
const WORKERS: usize = 5;

struct ReplicaSets {
    client: kube::Client,
    events: EventRecorder,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
    expectations: Arc<Expectations>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let sets = context.informers.get::<ReplicaSet>();
    let pods = context.pods();
    pods::index_by_owner(&pods);
    let expectations = Arc::new(Expectations::default());
    let reconciler = Arc::new(ReplicaSets {
        client: context.client(ACCOUNT),
        events: context.recorder(ACCOUNT),
        sets: sets.clone(),
        pods: pods.clone(),
        expectations: Arc::clone(&expectations),
    });
    // Before the runner's own handlers: what is queued by a change must find it counted.
    let _seen = pods.on_change(move |change| expectations.observe(KIND, change));
    let orphans = sets.clone();
    let runner = Runner::new(reconciler, WORKERS)
        .watch(&sets, |set: &ReplicaSet| Some(ObjectKey::of(&set.metadata)))
        .watch(&pods, move |pod: &Pod| owners(&orphans, &pod.metadata));
    let synced = async {
        sets.synced().await;
        pods.synced().await;
    };
    start(runner, synced, shutdown).await;
}

/// The set of a pod; of a pod without controller every set that may want it.
fn owners(sets: &Informer<ReplicaSet>, meta: &ObjectMeta) -> Vec<ObjectKey> {
    if owner::controller_of(meta).is_some() {
        return owner::owned_by(KIND, meta).into_iter().collect();
    }
    let labels = meta.labels.clone().unwrap_or_default();
    let sets = sets.list_namespace(meta.namespace.as_deref().unwrap_or_default());
    let wanting = sets.iter().filter(|set| selector(set).is_some_and(|selector| selector.matches(&labels)));
    wanting.map(|set| ObjectKey::of(&set.metadata)).collect()
}

fn selector(set: &ReplicaSet) -> Option<LabelSelector> {
    client::selector(Some(&set.spec.selector)).filter(|selector| !selector.is_empty())
}

impl Reconciler for ReplicaSets {
    type Key = ObjectKey;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "replicaset"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, kube::Error> {
        let Some(set) = self.sets.find(key) else {
            self.expectations.forget(key);
            return Ok(Outcome::Done);
        };
        let Some(selector) = selector(&set) else { return Ok(Outcome::Done) };
        let trusted = self.expectations.satisfied(key);
        let owned = self.claim(&set, &selector).await?;
        let managed = match trusted && set.metadata.deletion_timestamp.is_none() {
            true => self.manage(key, &set, &owned).await,
            false => Ok(()),
        };
        let now = Timestamp::now();
        let failure = managed.as_ref().err().map(|(reason, error)| (*reason, message(error)));
        let status = plan::status(&set, &owned, failure, now);
        let api = Api::<ReplicaSet>::namespaced(self.client.clone(), &key.namespace);
        match status::write_status(&api, &*set, |set| set.status = Some(status.clone())).await {
            Err(error) if !client::write::is_not_found(&error) => return Err(error),
            _ => {}
        }
        managed.map_err(|(_, error)| error)?;
        let next = plan::next_available(&set, &owned, now);
        // A little later, so that the clock has surely passed it.
        Ok(next.map_or(Outcome::Done, |wait| Outcome::RequeueAfter(wait + Duration::from_millis(10))))
    }
}

fn message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl ReplicaSets {
    /// The set's own pods; adopts those that are nobody's, lets go of those that match no more.
    async fn claim(&self, set: &ReplicaSet, selector: &LabelSelector) -> kube::Result<Vec<Arc<Pod>>> {
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let mut owned = Vec::new();
        let mut checked = false;
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        for pod in pods::candidates(&self.pods, uid, namespace) {
            match owner::claim(&set.metadata, selector, &pod.metadata) {
                Claim::Owned => owned.push(pod),
                Claim::Foreign => {}
                Claim::Release => {
                    owner::release(&api, &pod.metadata, uid).await?;
                }
                Claim::Adopt if pods::is_finished(&pod) => {}
                Claim::Adopt => {
                    if !checked && !self.still_there(set).await? {
                        return Ok(owned);
                    }
                    checked = true;
                    owner::adopt(&api, &pod.metadata, &owner::controller_reference(set)).await?;
                    owned.push(pod);
                }
            }
        }
        Ok(owned)
    }

    /// Asks the apiserver, since the cache may be late: who is being deleted must not adopt.
    async fn still_there(&self, set: &ReplicaSet) -> kube::Result<bool> {
        let api =
            Api::<ReplicaSet>::namespaced(self.client.clone(), set.metadata.namespace.as_deref().unwrap_or_default());
        let now = api.get_opt(set.metadata.name.as_deref().unwrap_or_default()).await?;
        Ok(now.is_some_and(|now| now.metadata.uid == set.metadata.uid && now.metadata.deletion_timestamp.is_none()))
    }

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
        let pod = pods::from_template(template, owner::controller_reference(set), &key.namespace);
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        let object = reference(set);
        self.expectations.expect(key, count, HashSet::new());
        let params = PostParams::default();
        let call = async || match api.create(&params, &pod).await {
            Ok(made) => {
                let name = made.metadata.name.unwrap_or_default();
                self.events.normal(&object, "SuccessfulCreate", format!("Created pod: {name}"));
                Ok(())
            }
            Err(error) => {
                self.expectations.created(key);
                self.events.warning(&object, "FailedCreate", format!("Error creating: {}", message(&error)));
                Err(error)
            }
        };
        let (made, failure) = slow_start::batches(count, call).await;
        (made..count).for_each(|_| self.expectations.created(key));
        failure.map_or(Ok(()), Err)
    }

    async fn delete(&self, key: &ObjectKey, set: &ReplicaSet, victims: Vec<Arc<Pod>>) -> kube::Result<()> {
        let uids = victims.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
        self.expectations.expect(key, 0, uids);
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        let object = reference(set);
        let calls = victims.iter().map(async |pod| {
            let (name, uid) = (pod.metadata.name.as_deref().unwrap_or_default(), pod.metadata.uid.clone());
            let preconditions = Preconditions { uid: uid.clone(), resource_version: None };
            let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
            let Err(error) = api.delete(name, &params).await else {
                self.events.normal(&object, "SuccessfulDelete", format!("Deleted pod: {name}"));
                return Ok(());
            };
            self.expectations.deleted(key, uid.as_deref().unwrap_or_default());
            if client::write::is_not_found(&error) {
                return Ok(());
            }
            self.events.warning(&object, "FailedDelete", format!("Error deleting: {}", message(&error)));
            Err(error)
        });
        join_all(calls).await.into_iter().collect()
    }
}
