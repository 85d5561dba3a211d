//! Listens to pods and nodes, carries out what was decided.

use std::sync::Arc;
use std::time::Duration;

use client::{Change, EventRecorder, Informers};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::{CSINode, StorageClass};
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::framework::{Diagnosis, Placement};
use crate::plugins::default_binder;
use crate::plugins::default_preemption::Candidate;
use crate::pod::{ObjectName, PodInfo};
use crate::profile::Profile;
use crate::snapshot::Budget;
use crate::state::{Decision, State};
use crate::volume_writes;
use crate::volumes::{Progress, Volumes};

/// Writes under way at once.
const WRITES: usize = 128;
/// One write takes at most this long.
const WRITE: Duration = Duration::from_secs(30);
/// Claims are bound within this time, or the pod is placed anew.
const BIND: Duration = Duration::from_secs(600);

/// What a scheduler has to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// It looks after pods whose `spec.schedulerName` one of these has.
    pub profiles: Vec<Profile>,
}

impl Default for Config {
    fn default() -> Self {
        Self { profiles: vec![Profile::default()] }
    }
}

/// A scheduler that is ready to run.
pub struct Scheduler {
    config: Config,
    client: kube::Client,
}

struct Shared {
    client: kube::Client,
    events: EventRecorder,
    state: Mutex<State>,
    changed: Notify,
    writes: Arc<Semaphore>,
    tasks: TaskTracker,
    /// Counts changes of storage.
    storage: watch::Sender<u64>,
    stop: CancellationToken,
}

impl Scheduler {
    /// Nothing runs yet. The client is that of `system:kube-scheduler`.
    pub fn build(config: Config, client: kube::Client) -> Self {
        Self { config, client }
    }

    /// Places pods until shutdown; writes under way are finished (bounded by their own time limit).
    pub async fn run(self, shutdown: CancellationToken) {
        let name = self.config.profiles.first().map_or("default-scheduler", |profile| profile.name.as_str());
        let (events, sink) = EventRecorder::new(self.client.clone(), name, "");
        let shared = Arc::new(Shared {
            client: self.client.clone(),
            events,
            state: Mutex::new(State::new(self.config.profiles)),
            changed: Notify::new(),
            writes: Arc::new(Semaphore::new(WRITES)),
            tasks: TaskTracker::new(),
            storage: watch::Sender::new(0),
            stop: shutdown.clone(),
        });
        let informers = Informers::new(self.client);
        let sink_stop = CancellationToken::new();
        let sink = tokio::spawn(sink.run(sink_stop.clone()));
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = shared.work(&informers) => {}
        }
        informers.shutdown().await;
        shared.tasks.close();
        shared.tasks.wait().await;
        sink_stop.cancel();
        if let Err(error) = sink.await {
            tracing::error!(%error, "event sink ended abnormally");
        }
    }
}

impl Shared {
    async fn work(self: &Arc<Self>, informers: &Informers) {
        let nodes = informers.get::<Node>();
        let pods = informers.project::<Pod, PodInfo>(client::Selection::default(), PodInfo::of);
        let shared = Arc::clone(self);
        let _nodes = nodes.on_change(move |change| shared.node_changed(change));
        let _storage = self.follow_storage(informers).await;
        let _others = self.follow_others(informers).await;
        let shared = Arc::clone(self);
        let _pods = pods.on_change(move |change| shared.pod_changed(change));
        // Deciding before all pods are known would fill nodes that are full.
        nodes.synced().await;
        pods.synced().await;
        tracing::info!(nodes = nodes.len(), pods = pods.len(), "scheduler is ready");
        loop {
            // Bounds what is decided but not yet written.
            let Ok(permit) = Arc::clone(&self.writes).acquire_owned().await else { return };
            let decision = self.state.lock().decide(Instant::now());
            let shared = Arc::clone(self);
            match decision {
                Decision::Wait => self.changed.notified().await,
                Decision::WaitUntil(at) => tokio::select! {
                    () = self.changed.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                Decision::Bind(pod, placement) => drop(self.tasks.spawn(async move {
                    shared.bind(&pod, &placement, permit).await;
                })),
                Decision::Fail(pod, diagnosis, candidate) => drop(self.tasks.spawn(async move {
                    shared.fail(&pod, &diagnosis, candidate).await;
                    drop(permit);
                })),
            }
            tokio::task::yield_now().await;
        }
    }

    /// Follows claims, volumes, classes and CSI nodes for as long as the answer is held.
    async fn follow_storage(self: &Arc<Self>, informers: &Informers) -> impl Sized + use<> {
        let claims = informers.get::<PersistentVolumeClaim>();
        let volumes = informers.get::<PersistentVolume>();
        let classes = informers.get::<StorageClass>();
        let csi_nodes = informers.get::<CSINode>();
        let guards = (
            self.follow(&claims, |all, claim| all.set_claim(claim), |all, claim| all.remove_claim(claim)),
            self.follow(&volumes, |all, volume| all.set_volume(volume), |all, volume| all.remove_volume(volume)),
            self.follow(&classes, |all, class| all.set_class(class), |all, class| all.remove_class(class)),
            self.follow(&csi_nodes, |all, node| all.set_csi_node(&node), |all, node| all.remove_csi_node(node)),
        );
        classes.synced().await;
        volumes.synced().await;
        claims.synced().await;
        csi_nodes.synced().await;
        (guards, claims, volumes, classes, csi_nodes)
    }

    /// Follows namespaces and disruption budgets for as long as the answer is held.
    async fn follow_others(self: &Arc<Self>, informers: &Informers) -> impl Sized + use<> {
        let namespaces = informers.metadata(&kube::api::ApiResource::erase::<Namespace>(&()));
        let budgets = informers.get::<PodDisruptionBudget>();
        let shared = Arc::clone(self);
        let of_namespaces = namespaces.on_change(move |change| {
            let (key, labels) = match change {
                Change::Applied { key, new, .. } => (key, Some(new.metadata.labels.clone().unwrap_or_default())),
                Change::Deleted { key, .. } => (key, None),
                Change::Resync => return,
            };
            shared.state.lock().namespace_changed(&key.name, labels, Instant::now());
            shared.changed.notify_one();
        });
        let shared = Arc::clone(self);
        let of_budgets = budgets.on_change(move |change| {
            let (meta, budget) = match change {
                Change::Applied { new, .. } => (&new.metadata, Some(Budget::of(new))),
                Change::Deleted { old, .. } => (&old.metadata, None),
                Change::Resync => return,
            };
            shared.state.lock().budget_changed(&ObjectName::of(meta), budget);
        });
        namespaces.synced().await;
        budgets.synced().await;
        (of_namespaces, of_budgets, namespaces, budgets)
    }

    fn follow<K: Send + Sync + 'static>(
        self: &Arc<Self>,
        informer: &client::Informer<K>,
        set: fn(&mut Volumes, Arc<K>),
        remove: fn(&mut Volumes, &K),
    ) -> client::HandlerGuard<K> {
        let shared = Arc::clone(self);
        informer.on_change(move |change| {
            let now = Instant::now();
            let apply = |all: &mut Volumes| match change {
                Change::Applied { new, .. } => set(all, Arc::clone(new)),
                Change::Deleted { old, .. } => remove(all, old),
                Change::Resync => {}
            };
            shared.state.lock().storage_changed(apply, now);
            shared.storage.send_modify(|count| *count = count.wrapping_add(1));
            shared.changed.notify_one();
        })
    }

    fn node_changed(&self, change: &Change<Node>) {
        let now = Instant::now();
        match change {
            Change::Applied { old, new, .. } => self.state.lock().node_applied(old.as_deref(), new, now),
            Change::Deleted { key, .. } => self.state.lock().node_deleted(&key.name, now),
            Change::Resync => {}
        }
        self.changed.notify_one();
    }

    fn pod_changed(&self, change: &Change<PodInfo>) {
        let now = Instant::now();
        match change {
            Change::Applied { old, new, .. } => {
                let mut state = self.state.lock();
                // The name was given to another pod in between.
                if let Some(old) = old.as_ref().filter(|old| old.uid != new.uid) {
                    state.pod_deleted(&old.uid, now);
                }
                state.pod_applied(old.as_deref(), new, now);
            }
            Change::Deleted { old, .. } => self.state.lock().pod_deleted(&old.uid, now),
            Change::Resync => {}
        }
        self.changed.notify_one();
    }

    async fn bind(&self, pod: &PodInfo, placement: &Placement, permit: OwnedSemaphorePermit) {
        let node = placement.node.as_str();
        let error = match self.pre_bind(placement, permit).await {
            Ok(_permit) => match tokio::time::timeout(WRITE, default_binder::bind(&self.client, pod, node)).await {
                Ok(Ok(())) => {
                    let message = format!("Successfully assigned {} to {node}", pod.object_key());
                    return self.events.normal(&pod.reference(), "Scheduled", message);
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the binding was not answered in time".to_owned(),
            },
            Err(error) => {
                let message = format!("running PreBind plugin \"VolumeBinding\": binding volumes: {error}");
                self.events.warning(&pod.reference(), "FailedScheduling", message.clone());
                message
            }
        };
        tracing::warn!(pod = %pod.object_key(), node, error, "pod was not bound");
        self.state.lock().bind_failed(pod, &placement.volumes, Instant::now());
        self.changed.notify_one();
    }

    /// Gives volumes to the pod's claims, and waits until all are bound; without a permit, which is for writes.
    async fn pre_bind(
        &self,
        placement: &Placement,
        permit: OwnedSemaphorePermit,
    ) -> Result<OwnedSemaphorePermit, String> {
        let (plan, node) = (&placement.volumes, placement.node.as_str());
        if plan.is_empty() {
            return Ok(permit);
        }
        let mut changes = self.storage.subscribe();
        let written = tokio::time::timeout(WRITE, volume_writes::carry_out(&self.client, plan, node)).await;
        written.map_err(|_| "not answered in time".to_owned())?.map_err(|error| error.to_string())?;
        drop(permit);
        let claims = plan.claims();
        tokio::select! {
            bound = tokio::time::timeout(BIND, self.bound(&claims, node, &mut changes)) => {
                bound.unwrap_or_else(|_| Err("context deadline exceeded".to_owned()))?;
            }
            () = self.stop.cancelled() => return Err("the scheduler ends".to_owned()),
        }
        Arc::clone(&self.writes).acquire_owned().await.map_err(|error| error.to_string())
    }

    async fn bound(&self, claims: &[ObjectName], node: &str, changes: &mut watch::Receiver<u64>) -> Result<(), String> {
        loop {
            let progress = self.state.lock().progress(claims, node);
            match progress {
                Progress::Bound => return Ok(()),
                Progress::Failed(why) => return Err(why),
                Progress::Waiting => changes.changed().await.map_err(|error| error.to_string())?,
            }
        }
    }

    async fn fail(&self, pod: &PodInfo, diagnosis: &Diagnosis, candidate: Option<Candidate>) {
        let message = diagnosis.message();
        tracing::debug!(pod = %pod.object_key(), message, "pod is unschedulable");
        self.events.warning(&pod.reference(), "FailedScheduling", message.clone());
        if let Some(candidate) = &candidate {
            self.evict(pod, candidate).await;
        }
        self.report(pod, &message, candidate.map(|candidate| candidate.node)).await;
    }

    async fn evict(&self, pod: &PodInfo, candidate: &Candidate) {
        for victim in candidate.victims.iter().filter(|victim| !victim.terminating) {
            let pods = Api::<Pod>::namespaced(self.client.clone(), &victim.key.namespace);
            let preconditions = Preconditions { uid: Some(victim.uid.clone()), resource_version: None };
            let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
            let message = format!("Preempted by pod {} on node {}", pod.uid, candidate.node);
            self.mark(victim, pod).await;
            match tokio::time::timeout(WRITE, pods.delete(&victim.key.name, &params)).await {
                Ok(Ok(_)) => self.events.normal(&victim.reference(), "Preempted", message),
                Ok(Err(error)) => tracing::warn!(pod = %victim.object_key(), %error, "victim was not deleted"),
                Err(_) => tracing::warn!(pod = %victim.object_key(), "deleting a victim was not answered in time"),
            }
        }
    }

    /// Says on the victim why it has to go, for those who count disruptions.
    async fn mark(&self, victim: &PodInfo, pod: &PodInfo) {
        let message = format!("{}: preempting to accommodate a higher priority pod", pod.scheduler_name);
        let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
            "message": message, "lastTransitionTime": api::time::seconds(Timestamp::now())});
        let patch = json!({"metadata": {"uid": victim.uid}, "status": {"conditions": [condition]}});
        let pods = Api::<Pod>::namespaced(self.client.clone(), &victim.key.namespace);
        let (params, patch) = (kube::api::PatchParams::default(), kube::api::Patch::Strategic(&patch));
        match tokio::time::timeout(WRITE, pods.patch_status(&victim.key.name, &params, &patch)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(pod = %victim.object_key(), %error, "victim was not marked"),
            Err(_) => tracing::warn!(pod = %victim.object_key(), "marking a victim was not answered in time"),
        }
    }

    /// Writes the PodScheduled condition, unless it says so already.
    async fn report(&self, pod: &PodInfo, message: &str, nominated: Option<String>) {
        let condition = pod.wishes.as_ref().and_then(|wishes| wishes.condition.as_ref());
        let said = condition.is_some_and(|c| c.status == "False" && c.message.as_deref() == Some(message));
        if said && nominated.is_none() {
            return;
        }
        let since = condition.filter(|c| c.status == "False").and_then(|c| c.last_transition_time.as_ref());
        let since = since.map_or_else(Timestamp::now, |time| time.0);
        let mut status = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": message, "lastTransitionTime": api::time::seconds(since)}]});
        if let (Some(node), Some(status)) = (nominated, status.as_object_mut()) {
            status.insert("nominatedNodeName".into(), node.into());
        }
        let pods = Api::<Pod>::namespaced(self.client.clone(), &pod.key.namespace);
        let patch = json!({"metadata": {"uid": pod.uid}, "status": status});
        let (params, patch) = (kube::api::PatchParams::default(), kube::api::Patch::Strategic(&patch));
        match tokio::time::timeout(WRITE, pods.patch_status(&pod.key.name, &params, &patch)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) if client::write::is_not_found(&error) => {}
            Ok(Err(error)) => tracing::warn!(pod = %pod.object_key(), %error, "condition was not written"),
            Err(_) => tracing::warn!(pod = %pod.object_key(), "writing a condition was not answered in time"),
        }
    }
}
