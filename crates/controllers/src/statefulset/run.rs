//! Reads StatefulSets and their pods, makes pods and claims, keeps the history, writes the status.

use std::sync::Arc;

use client::{Informer, ObjectKey, Outcome, Reconciler, Runner, reference, write};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodTemplateSpec};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::plan::{self, NewPod, Observed, Plan};
use super::{claims, identity};
use crate::common::claimant::Claimant;
use crate::common::pod_control::{is_namespace_ending, message};
use crate::common::revisions::{self, History};
use crate::common::{owner, pods, status};
use crate::context::{Context, start};

const ACCOUNT: &str = "statefulset-controller";
const KIND: &str = "StatefulSet";
const WORKERS: usize = 5;
/// Label of a revision.
const HASH: &str = "controller.kubernetes.io/hash";

struct StatefulSets {
    client: kube::Client,
    events: client::EventRecorder,
    sets: Informer<StatefulSet>,
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
    revisions: Informer<ControllerRevision>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let sets = context.informers.get::<StatefulSet>();
    let pods = context.pods();
    let claims = context.informers.get::<PersistentVolumeClaim>();
    let revisions = context.informers.get::<ControllerRevision>();
    pods::index_by_owner(&pods);
    let reconciler = Arc::new(StatefulSets {
        client: context.client(ACCOUNT),
        events: context.recorder(ACCOUNT),
        sets: sets.clone(),
        pods: pods.clone(),
        claims: claims.clone(),
        revisions: revisions.clone(),
    });
    let orphans = sets.clone();
    let runner = Runner::new(reconciler, WORKERS)
        .watch(&sets, |set: &StatefulSet| Some(ObjectKey::of(&set.metadata)))
        .watch(&pods, move |pod: &Pod| owners(&orphans, pod))
        .watch(&revisions, |revision: &ControllerRevision| owner::owned_by(KIND, &revision.metadata));
    let synced = async {
        sets.synced().await;
        pods.synced().await;
        claims.synced().await;
        revisions.synced().await;
    };
    start(runner, synced, shutdown).await;
}

fn owners(sets: &Informer<StatefulSet>, pod: &Pod) -> Vec<ObjectKey> {
    if owner::controller_of(&pod.metadata).is_some() {
        return owner::owned_by(KIND, &pod.metadata).into_iter().collect();
    }
    let sets = sets.list_namespace(pod.metadata.namespace.as_deref().unwrap_or_default());
    let named = sets.iter().filter(|set| identity::ordinal(set, pod).is_some());
    named.map(|set| ObjectKey::of(&set.metadata)).collect()
}

fn uid(meta: &kube::api::ObjectMeta) -> &str {
    meta.uid.as_deref().unwrap_or_default()
}

/// The two revisions that pods may have.
struct Revisions {
    current: Arc<ControllerRevision>,
    update: Arc<ControllerRevision>,
}

fn name(revision: &ControllerRevision) -> &str {
    revision.metadata.name.as_deref().unwrap_or_default()
}

impl Reconciler for StatefulSets {
    type Key = ObjectKey;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "statefulset"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, kube::Error> {
        let Some(set) = self.sets.find(key) else { return Ok(Outcome::Done) };
        let spec = &set.spec;
        let selector = client::selector(Some(&spec.selector)).filter(|selector| !selector.is_empty());
        let Some(selector) = selector else { return Ok(Outcome::Done) };
        let reference = owner::controller_reference(&*set);
        let claimant =
            Claimant { meta: &set.metadata, reference: reference.clone(), selector: &selector, adopts: |_| true };
        let owned = claimant.pods(&self.client, &self.pods).await?;
        let history = History {
            owner: &set.metadata,
            reference,
            template: &spec.template,
            collisions: set.status.as_ref().and_then(|status| status.collision_count),
            label: HASH,
            limit: spec.revision_history_limit,
        };
        let mut known = self.revisions.list_namespace(&key.namespace);
        known.retain(|r| owner::controller_of(&r.metadata).is_some_and(|owner| owner.uid == uid(&set.metadata)));
        let Some(update) = history.revise(&self.client, &known).await? else { return Ok(Outcome::Done) };
        let before = set.status.as_ref().and_then(|status| status.current_revision.as_deref());
        let current = known.iter().find(|revision| Some(name(revision)) == before).unwrap_or(&update);
        let revisions = Revisions { current: Arc::clone(current), update: Arc::clone(&update) };
        let now = Timestamp::now();
        let (current, update) = (name(&revisions.current), name(&revisions.update));
        let plan = plan::plan(&Observed { set: &set, pods: &owned, current, update, now });
        let done = self.carry_out(&set, &owned, &plan, &revisions).await;
        self.write_status(key, &set, plan.status).await?;
        done?;
        let used = |revision: &ControllerRevision| {
            let name = name(revision);
            name == current || name == update || owned.iter().any(|pod| identity::revision(pod) == name)
        };
        history.trim(&self.client, &known, used).await?;
        Ok(plan.again.map_or(Outcome::Done, Outcome::RequeueAfter))
    }
}

impl StatefulSets {
    async fn carry_out(
        &self,
        set: &StatefulSet,
        owned: &[Arc<Pod>],
        plan: &Plan,
        revisions: &Revisions,
    ) -> kube::Result<()> {
        if set.metadata.deletion_timestamp.is_none() {
            self.keep(set, owned, plan).await?;
        }
        let object = reference(set);
        for pod in plan.replace.iter().filter(|pod| pods::phase(pod) == "Failed") {
            let key = ObjectKey::of(&set.metadata);
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let message = format!("StatefulSet {key} is recreating failed Pod {name}");
            self.events.warning(&object, "RecreatingFailedPod", message);
        }
        let made = join_all(plan.create.iter().map(|new| self.create(set, *new, revisions))).await;
        let gone = join_all(plan.replace.iter().chain(&plan.delete).map(|pod| self.delete(set, pod))).await;
        made.into_iter().chain(gone).collect()
    }

    /// Names, labels and claims of pods that are there.
    async fn keep(&self, set: &StatefulSet, owned: &[Arc<Pod>], plan: &Plan) -> kube::Result<()> {
        let api = Api::<Pod>::namespaced(self.client.clone(), set.metadata.namespace.as_deref().unwrap_or_default());
        for pod in owned {
            let Some(number) = identity::ordinal(set, pod) else { continue };
            if let Some(labels) = identity::corrected(set, pod, number) {
                let name = pod.metadata.name.as_deref().unwrap_or_default();
                let patch = json!({"metadata": {"uid": pod.metadata.uid, "labels": labels}});
                api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
            }
            let condemned = plan.condemned.iter().any(|other| uid(&other.metadata) == uid(&pod.metadata));
            self.keep_claims(set, pod, number, condemned).await?;
        }
        Ok(())
    }

    async fn keep_claims(&self, set: &StatefulSet, pod: &Pod, number: i32, condemned: bool) -> kube::Result<()> {
        for wanted in identity::claims(set, number) {
            let key = ObjectKey::of(&wanted.metadata);
            let Some(there) = self.claims.find(&key) else {
                if !condemned && !pods::is_terminating(pod) && pods::phase(pod) != "Running" {
                    self.create_claim(set, pod.metadata.name.as_deref().unwrap_or_default(), &wanted).await?;
                }
                continue;
            };
            if let Some(owners) = claims::owners(set, pod, &there, condemned) {
                let mut claim = (*there).clone();
                claim.metadata.owner_references = Some(owners);
                let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), &key.namespace);
                match api.replace(&key.name, &PostParams::default(), &claim).await {
                    Err(error) if write::is_not_found(&error) => {}
                    other => drop(other?),
                }
            }
        }
        Ok(())
    }

    async fn create_claim(&self, set: &StatefulSet, pod: &str, claim: &PersistentVolumeClaim) -> kube::Result<()> {
        let key = ObjectKey::of(&claim.metadata);
        let set_name = set.metadata.name.as_deref().unwrap_or_default();
        let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), &key.namespace);
        match api.create(&PostParams::default(), claim).await {
            Ok(_) => {
                let message = format!("create Claim {} Pod {pod} in StatefulSet {set_name} success", key.name);
                self.events.normal(&reference(set), "SuccessfulCreate", message);
                Ok(())
            }
            Err(error) if write::is_already_exists(&error) => Ok(()),
            Err(error) => {
                let what = format!("create Claim {} for Pod {pod} in StatefulSet {set_name} failed error", key.name);
                self.events.warning(&reference(set), "FailedCreate", format!("{what}: {}", message(&error)));
                Err(error)
            }
        }
    }

    async fn create(&self, set: &StatefulSet, new: NewPod, revisions: &Revisions) -> kube::Result<()> {
        let revision = if new.current { &revisions.current } else { &revisions.update };
        let template: PodTemplateSpec = revisions::template(revision).unwrap_or_default();
        let pod = identity::pod(set, &template, name(revision), new.ordinal);
        let key = ObjectKey::of(&pod.metadata);
        for claim in identity::claims(set, new.ordinal) {
            if self.claims.find(&ObjectKey::of(&claim.metadata)).is_none() {
                self.create_claim(set, &key.name, &claim).await?;
            }
        }
        let set_name = set.metadata.name.as_deref().unwrap_or_default();
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        match api.create(&PostParams::default(), &pod).await {
            Ok(_) => {
                let message = format!("create Pod {} in StatefulSet {set_name} successful", key.name);
                self.events.normal(&reference(set), "SuccessfulCreate", message);
                Ok(())
            }
            // The cache is late, or somebody else's pod has the name: its change comes.
            Err(error) if write::is_already_exists(&error) || is_namespace_ending(&error) => Ok(()),
            Err(error) => {
                let what = format!("create Pod {} in StatefulSet {set_name} failed error", key.name);
                self.events.warning(&reference(set), "FailedCreate", format!("{what}: {}", message(&error)));
                Err(error)
            }
        }
    }

    async fn delete(&self, set: &StatefulSet, pod: &Pod) -> kube::Result<()> {
        let key = ObjectKey::of(&pod.metadata);
        let preconditions = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let set_name = set.metadata.name.as_deref().unwrap_or_default();
        match Api::<Pod>::namespaced(self.client.clone(), &key.namespace).delete(&key.name, &params).await {
            Ok(_) => {
                let message = format!("delete Pod {} in StatefulSet {set_name} successful", key.name);
                self.events.normal(&reference(set), "SuccessfulDelete", message);
                Ok(())
            }
            Err(error) if write::is_not_found(&error) || write::is_conflict(&error) => Ok(()),
            Err(error) => {
                let what = format!("delete Pod {} in StatefulSet {set_name} failed error", key.name);
                self.events.warning(&reference(set), "FailedDelete", format!("{what}: {}", message(&error)));
                Err(error)
            }
        }
    }

    async fn write_status(&self, key: &ObjectKey, set: &StatefulSet, new: StatefulSetStatus) -> kube::Result<()> {
        let api = Api::<StatefulSet>::namespaced(self.client.clone(), &key.namespace);
        match status::write_status(&api, set, |set| set.status = Some(new.clone())).await {
            Err(error) if write::is_not_found(&error) => Ok(()),
            other => other.map(drop),
        }
    }
}
