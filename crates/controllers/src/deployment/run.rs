//! Reads Deployments and their sets, carries the plan out.

use std::sync::Arc;
use std::time::Duration;

use api::selector::LabelSelector;
use client::{EventRecorder, Informer, ObjectKey, Outcome, Reconciler, Runner, reference};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};
use tokio_util::sync::CancellationToken;

use super::plan::{self, Observed, Plan, REVISION, is_recreate, replicas};
use crate::common::owner::{self, Claim};
use crate::common::{hash, pods, status};
use crate::context::{Context, start};

const ACCOUNT: &str = "deployment-controller";
const WORKERS: usize = 5;

struct Deployments {
    client: kube::Client,
    events: EventRecorder,
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let deployments = context.informers.get::<Deployment>();
    let sets = context.informers.get::<ReplicaSet>();
    let pods = context.pods();
    pods::index_by_owner(&pods);
    let reconciler = Arc::new(Deployments {
        client: context.client(ACCOUNT),
        events: context.recorder(ACCOUNT),
        deployments: deployments.clone(),
        sets: sets.clone(),
        pods: pods.clone(),
    });
    let (wanting, of_pods) = (deployments.clone(), (deployments.clone(), sets.clone()));
    let runner = Runner::new(reconciler, WORKERS)
        .watch(&deployments, |deployment: &Deployment| Some(ObjectKey::of(&deployment.metadata)))
        .watch(&sets, move |set: &ReplicaSet| owners(&wanting, &set.metadata))
        .watch(&pods, move |pod: &Pod| waiting_for(&of_pods.0, &of_pods.1, pod));
    let synced = async {
        deployments.synced().await;
        sets.synced().await;
        pods.synced().await;
    };
    start(runner, synced, shutdown).await;
}

fn owners(deployments: &Informer<Deployment>, meta: &ObjectMeta) -> Vec<ObjectKey> {
    if owner::controller_of(meta).is_some() {
        return owner::owned_by("Deployment", meta).into_iter().collect();
    }
    let labels = meta.labels.clone().unwrap_or_default();
    let all = deployments.list_namespace(meta.namespace.as_deref().unwrap_or_default());
    let wanting = all.iter().filter(|d| selector(d).is_some_and(|selector| selector.matches(&labels)));
    wanting.map(|deployment| ObjectKey::of(&deployment.metadata)).collect()
}

/// Only a Deployment that recreates waits for single pods: for the last of the old ones to end.
fn waiting_for(deployments: &Informer<Deployment>, sets: &Informer<ReplicaSet>, pod: &Pod) -> Option<ObjectKey> {
    let owner = owner::controller_of(&pod.metadata).filter(|owner| owner.kind == "ReplicaSet")?;
    let set = sets.get(pod.metadata.namespace.as_deref().unwrap_or_default(), &owner.name)?;
    let key = owner::owned_by("Deployment", &set.metadata)?;
    deployments.find(&key).is_some_and(|deployment| is_recreate(&deployment)).then_some(key)
}

fn selector(deployment: &Deployment) -> Option<LabelSelector> {
    client::selector(Some(&deployment.spec.selector)).filter(|selector| !selector.is_empty())
}

impl Reconciler for Deployments {
    type Key = ObjectKey;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "deployment"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, kube::Error> {
        let Some(deployment) = self.deployments.find(key) else { return Ok(Outcome::Done) };
        let Some(selector) = selector(&deployment) else { return Ok(Outcome::Done) };
        let sets = self.claim(&deployment, &selector).await?;
        let populated = if is_recreate(&deployment) { self.populated(&sets) } else { Vec::new() };
        let now = Timestamp::now();
        let plan = plan::plan(&Observed { deployment: &deployment, sets: &sets, populated: &populated, now });
        self.carry_out(key, &deployment, plan).await
    }
}

impl Deployments {
    async fn claim(&self, deployment: &Deployment, selector: &LabelSelector) -> kube::Result<Vec<ReplicaSet>> {
        let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
        let api = Api::<ReplicaSet>::namespaced(self.client.clone(), namespace);
        let mut owned = Vec::new();
        for set in self.sets.list_namespace(namespace) {
            match owner::claim(&deployment.metadata, selector, &set.metadata) {
                Claim::Owned => owned.push((*set).clone()),
                Claim::Foreign => {}
                Claim::Release => {
                    let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
                    owner::release(&api, &set.metadata, uid).await?;
                }
                // Its own change brings it back here as an owned one.
                Claim::Adopt if self.still_there(deployment).await? => {
                    owner::adopt(&api, &set.metadata, &owner::controller_reference(deployment)).await?;
                }
                Claim::Adopt => {}
            }
        }
        Ok(owned)
    }

    async fn still_there(&self, deployment: &Deployment) -> kube::Result<bool> {
        let meta = &deployment.metadata;
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let api = Api::<Deployment>::namespaced(self.client.clone(), namespace);
        let now = api.get_opt(meta.name.as_deref().unwrap_or_default()).await?;
        Ok(now.is_some_and(|now| now.metadata.uid == meta.uid && now.metadata.deletion_timestamp.is_none()))
    }

    fn populated(&self, sets: &[ReplicaSet]) -> Vec<String> {
        let uids = sets.iter().filter_map(|set| set.metadata.uid.clone());
        let lives = |uid: &String| self.pods.by_index(pods::BY_OWNER, uid).iter().any(|pod| !pods::is_finished(pod));
        uids.filter(lives).collect()
    }

    async fn carry_out(&self, key: &ObjectKey, deployment: &Deployment, plan: Plan) -> kube::Result<Outcome> {
        let api = Api::<ReplicaSet>::namespaced(self.client.clone(), &key.namespace);
        let object = reference(deployment);
        if let Some(set) = &plan.create
            && !self.create(&api, deployment, &object, set).await?
        {
            return Ok(Outcome::RequeueAfter(Duration::from_millis(5)));
        }
        for (set, before) in &plan.update {
            self.update(&api, &object, set, *before).await?;
        }
        for set in &plan.delete {
            delete(&api, set).await?;
        }
        let current = self.write_revision(key, deployment, plan.revision).await?;
        self.write_status(key, &current, &plan.status).await?;
        Ok(plan.again.map_or(Outcome::Done, Outcome::RequeueAfter))
    }

    async fn write_revision(
        &self,
        key: &ObjectKey,
        deployment: &Deployment,
        revision: Option<String>,
    ) -> kube::Result<Deployment> {
        let mut current = deployment.clone();
        let Some(revision) = revision else { return Ok(current) };
        current.metadata.annotations.get_or_insert_default().insert(REVISION.into(), revision);
        let api = Api::<Deployment>::namespaced(self.client.clone(), &key.namespace);
        api.replace(&key.name, &PostParams::default(), &current).await
    }

    async fn write_status(&self, key: &ObjectKey, deployment: &Deployment, new: &DeploymentStatus) -> kube::Result<()> {
        let api = Api::<Deployment>::namespaced(self.client.clone(), &key.namespace);
        match status::write_status(&api, deployment, |object| object.status = Some(new.clone())).await {
            Err(error) if client::write::is_not_found(&error) => Ok(()),
            other => other.map(drop),
        }
    }

    /// False when the name was taken by a set of another template: the next hash is another one.
    async fn create(
        &self,
        api: &Api<ReplicaSet>,
        deployment: &Deployment,
        object: &ObjectReference,
        set: &ReplicaSet,
    ) -> kube::Result<bool> {
        let name = set.metadata.name.as_deref().unwrap_or_default();
        match api.create(&PostParams::default(), set).await {
            Ok(_) => {
                if replicas(set) > 0 {
                    let message = format!("Scaled up replica set {name} from 0 to {}", replicas(set));
                    self.events.normal(object, "ScalingReplicaSet", message);
                }
                Ok(true)
            }
            Err(error) if client::write::is_already_exists(&error) => {
                let there = api.get(name).await?;
                let ours =
                    owner::controller_of(&there.metadata).map(|owner| &owner.uid) == deployment.metadata.uid.as_ref();
                let template = there.spec.template.as_ref();
                if ours && template.is_some_and(|other| hash::same_template(other, &deployment.spec.template)) {
                    // The cache is late: its change comes, and with it the next look.
                    return Ok(false);
                }
                self.count_collision(deployment).await?;
                Ok(false)
            }
            Err(error) => {
                let message = format!("Failed to create new replica set \"{name}\": {error}");
                self.events.warning(object, "ReplicaSetCreateError", message);
                Err(error)
            }
        }
    }

    async fn count_collision(&self, deployment: &Deployment) -> kube::Result<()> {
        let mut status = deployment.status.clone().unwrap_or_default();
        status.collision_count = Some(status.collision_count.unwrap_or(0).saturating_add(1));
        self.write_status(&ObjectKey::of(&deployment.metadata), deployment, &status).await
    }

    /// A whole update: it fails if the set is no longer what was looked at.
    async fn update(
        &self,
        api: &Api<ReplicaSet>,
        object: &ObjectReference,
        set: &ReplicaSet,
        before: i32,
    ) -> kube::Result<()> {
        let name = set.metadata.name.as_deref().unwrap_or_default();
        api.replace(name, &PostParams::default(), set).await?;
        let after = replicas(set);
        if after != before {
            let direction = if after > before { "up" } else { "down" };
            let message = format!("Scaled {direction} replica set {name} from {before} to {after}");
            self.events.normal(object, "ScalingReplicaSet", message);
        }
        Ok(())
    }
}

async fn delete(api: &Api<ReplicaSet>, set: &ReplicaSet) -> kube::Result<()> {
    let preconditions = Preconditions { uid: set.metadata.uid.clone(), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
    match api.delete(set.metadata.name.as_deref().unwrap_or_default(), &params).await {
        Err(error) if client::write::is_not_found(&error) => Ok(()),
        other => other.map(drop),
    }
}
