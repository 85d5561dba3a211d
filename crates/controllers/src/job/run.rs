//! Reads Jobs and pods, makes and deletes pods, counts, writes the status.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use client::{EventRecorder, Informer, ObjectKey, Outcome, Reconciler, Runner, reference, write};
use futures::StreamExt;
use futures::stream;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use parking_lot::Mutex;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::plan::{self, NewPod, Observed, Plan, TRACKING};
use super::template;
use crate::common::claimant::Claimant;
use crate::common::expectations::Expectations;
use crate::common::pod_control::PodControl;
use crate::common::slow_start::{self, Calls};
use crate::common::{owner, pods};
use crate::context::{Context, start};

const ACCOUNT: &str = "job-controller";
const KIND: &str = "Job";
const WORKERS: usize = 5;
/// Requests at once for one Job.
const PARALLEL: usize = 8;
/// A controller of somebody else's takes care of Jobs that name another one.
const OURS: &str = "kubernetes.io/job-controller";

struct Jobs {
    events: EventRecorder,
    control: PodControl,
    jobs: Informer<Job>,
    pods: Informer<Pod>,
    memory: Mutex<HashMap<ObjectKey, Memory>>,
}

/// What is remembered of a Job beside what its status says.
#[derive(Clone, Default)]
struct Memory {
    uid: Option<String>,
    backoff: Backoff,
    /// The version that its status was last written as: a cache that is behind it is no ground to act on.
    written: u64,
}

/// A Job, or a pod whose Job may be gone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    Job(ObjectKey),
    Pod(ObjectKey),
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let jobs = context.informers.get::<Job>();
    let pods = context.pods();
    pods::index_by_owner(&pods);
    let expectations = Arc::new(Expectations::default());
    let events = context.recorder(ACCOUNT);
    let control =
        PodControl { client: context.client(ACCOUNT), events: events.clone(), expectations: Arc::clone(&expectations) };
    let memory = Mutex::default();
    let reconciler = Arc::new(Jobs { events, control, jobs: jobs.clone(), pods: pods.clone(), memory });
    let _seen = pods.on_change(move |change| expectations.observe(KIND, change));
    let known = jobs.clone();
    let left = pods.clone();
    let runner = Runner::new(reconciler, WORKERS)
        .watch(&jobs, |job: &Job| Some(Key::Job(ObjectKey::of(&job.metadata))))
        .watch(&pods, move |pod: &Pod| keys(&known, pod));
    let queue = runner.queue();
    let _gone = jobs.on_change(move |change| {
        if let client::Change::Deleted { old, .. } = change {
            let pods = left.by_index(pods::BY_OWNER, old.metadata.uid.as_deref().unwrap_or_default());
            pods.iter().for_each(|pod| queue.add(Key::Pod(ObjectKey::of(&pod.metadata))));
        }
    });
    let synced = async {
        jobs.synced().await;
        pods.synced().await;
    };
    start(runner, synced, shutdown).await;
}

/// The Job of a pod; of a pod of nobody every Job that may want it, and the pod itself if it has a finalizer to lose.
fn keys(jobs: &Informer<Job>, pod: &Pod) -> Vec<Key> {
    let itself = || plan::is_tracked(pod).then(|| Key::Pod(ObjectKey::of(&pod.metadata)));
    if owner::controller_of(&pod.metadata).is_some() {
        let Some(job) = owner::owned_by(KIND, &pod.metadata) else { return Vec::new() };
        let orphan = jobs.find(&job).is_none();
        return [Key::Job(job)].into_iter().chain(itself().filter(|_| orphan)).collect();
    }
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    let wants = |job: &&Arc<Job>| selector(job).is_some_and(|selector| selector.matches(&labels));
    let all = jobs.list_namespace(pod.metadata.namespace.as_deref().unwrap_or_default());
    let wanting: Vec<_> = all.iter().filter(wants).map(|job| Key::Job(ObjectKey::of(&job.metadata))).collect();
    wanting.into_iter().chain(itself()).collect()
}

fn selector(job: &Job) -> Option<api::selector::LabelSelector> {
    let selector = job.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    client::selector(selector).filter(|selector| !selector.is_empty())
}

fn is_ours(job: &Job) -> bool {
    job.spec.as_ref().and_then(|spec| spec.managed_by.as_deref()).is_none_or(|name| name == OURS)
}

fn version(job: &Job) -> u64 {
    job.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

impl Reconciler for Jobs {
    type Key = Key;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "job"
    }

    async fn reconcile(&self, key: &Key) -> Result<Outcome, kube::Error> {
        match key {
            Key::Job(key) => self.reconcile_job(key).await,
            Key::Pod(key) => self.reconcile_pod(key).await,
        }
    }
}

impl Jobs {
    /// Takes the finalizer off a pod that no Job counts any more.
    async fn reconcile_pod(&self, key: &ObjectKey) -> kube::Result<Outcome> {
        let Some(pod) = self.pods.find(key).filter(|pod| plan::is_tracked(pod)) else { return Ok(Outcome::Done) };
        let uid = owner::controller_of(&pod.metadata).map(|owner| owner.uid.clone());
        let job = owner::owned_by(KIND, &pod.metadata).and_then(|job| self.jobs.find(&job));
        let job = job.filter(|job| job.metadata.uid == uid);
        let counted = job.is_some_and(|job| is_ours(&job) && plan::is_finished(&job).is_none());
        if !counted {
            self.untrack(&pod).await?;
        }
        Ok(Outcome::Done)
    }

    async fn reconcile_job(&self, key: &ObjectKey) -> kube::Result<Outcome> {
        let Some(job) = self.jobs.find(key) else {
            self.control.expectations.forget(key);
            self.memory.lock().remove(key);
            return Ok(Outcome::Done);
        };
        let memory = self.remembered(key, &job);
        let Some(selector) = selector(&job).filter(|_| is_ours(&job) && version(&job) >= memory.written) else {
            return Ok(Outcome::Done);
        };
        if plan::is_finished(&job).is_some() {
            return self.leave(&job).await;
        }
        let trusted = self.control.expectations.satisfied(key);
        let reference = owner::controller_reference(&*job);
        let claimant = Claimant { meta: &job.metadata, reference, selector: &selector, adopts: |_| true };
        let owned = claimant.pods(&self.control.client, &self.pods).await?;
        let now = Timestamp::now();
        let observed = Observed { job: &job, pods: &owned, trusted, backoff: memory.backoff, now };
        self.carry_out(key, &job, plan::plan(&observed)).await
    }

    fn remembered(&self, key: &ObjectKey, job: &Job) -> Memory {
        let mut all = self.memory.lock();
        let memory = all.entry(key.clone()).or_default();
        if memory.uid != job.metadata.uid {
            *memory = Memory { uid: job.metadata.uid.clone(), ..Memory::default() };
        }
        memory.clone()
    }

    /// A finished Job counts no more: its pods are free to go.
    async fn leave(&self, job: &Job) -> kube::Result<Outcome> {
        let pods = self.pods.by_index(pods::BY_OWNER, job.metadata.uid.as_deref().unwrap_or_default());
        for pod in pods.iter().filter(|pod| plan::is_tracked(pod)) {
            self.untrack(pod).await?;
        }
        Ok(Outcome::Done)
    }

    async fn carry_out(&self, key: &ObjectKey, job: &Job, plan: Plan) -> kube::Result<Outcome> {
        let object = reference(job);
        let leaving = || plan.discard.iter().chain(&plan.end);
        if leaving().next().is_some() || !plan.create.is_empty() {
            let uids: HashSet<_> = leaving().filter_map(|pod| pod.metadata.uid.clone()).collect();
            self.control.expectations.expect(key, plan.create.len(), uids);
        }
        let mut result = self.remove(key, &object, &plan).await;
        let made = self.create(key, job, &object, &plan.create).await;
        if let Some(error) = made.failure {
            result = result.and(Err(error));
        }
        let mut status = plan.status;
        let active = status.active.unwrap_or(0) + i32::try_from(made.succeeded).unwrap_or(i32::MAX);
        status.active = Some(active).filter(|active| *active > 0);
        self.write_status(key, job, status, plan.backoff).await?;
        for happening in &plan.events {
            self.events.event(&object, happening.kind, &happening.reason, happening.message.clone());
        }
        let untracked: Vec<_> = plan.untrack.iter().map(|pod| self.untrack(pod)).collect();
        let untracked: Vec<_> = stream::iter(untracked).buffer_unordered(PARALLEL).collect().await;
        untracked.into_iter().collect::<kube::Result<()>>()?;
        result?;
        // A little later, so that the clock has surely passed it.
        Ok(plan.again.map_or(Outcome::Done, |wait| Outcome::RequeueAfter(wait + Duration::from_millis(10))))
    }

    /// What goes without being counted loses its finalizer first.
    async fn remove(&self, key: &ObjectKey, object: &ObjectReference, plan: &Plan) -> kube::Result<()> {
        let freed: Vec<_> = plan.discard.iter().map(|pod| self.untrack(pod)).collect();
        let freed: Vec<_> = stream::iter(freed).buffer_unordered(PARALLEL).collect().await;
        freed.into_iter().collect::<kube::Result<()>>()?;
        let pods = plan.discard.iter().chain(&plan.end);
        let removed: Vec<_> = pods.map(|pod| self.control.delete(key, object, pod)).collect();
        let removed: Vec<_> = stream::iter(removed).buffer_unordered(PARALLEL).collect().await;
        removed.into_iter().collect()
    }

    async fn create(
        &self,
        key: &ObjectKey,
        job: &Job,
        object: &ObjectReference,
        pods: &[NewPod],
    ) -> Calls<kube::Error> {
        let pods: Vec<_> = pods.iter().map(|new| template::pod(job, new)).collect();
        let calls = slow_start::batches(pods.iter().map(|pod| self.control.create(key, object, pod)).collect()).await;
        (0..calls.left).for_each(|_| self.control.expectations.created(key));
        calls
    }

    /// Written as what was looked at, or not at all: numbers must not be counted twice.
    async fn write_status(&self, key: &ObjectKey, job: &Job, status: JobStatus, backoff: Backoff) -> kube::Result<()> {
        let mut written = version(job);
        if job.status.as_ref() != Some(&status) {
            let new = Job { status: Some(status), ..job.clone() };
            let api = Api::<Job>::namespaced(self.control.client.clone(), &key.namespace);
            match api.replace_status(&key.name, &PostParams::default(), &new).await {
                Ok(stored) => written = version(&stored),
                Err(error) if write::is_not_found(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(memory) = self.memory.lock().get_mut(key) {
            *memory = Memory { uid: memory.uid.take(), backoff, written };
        }
        Ok(())
    }

    async fn untrack(&self, pod: &Pod) -> kube::Result<()> {
        if !plan::is_tracked(pod) {
            return Ok(());
        }
        let patch = json!({"metadata": {"uid": pod.metadata.uid, "$deleteFromPrimitiveList/finalizers": [TRACKING]}});
        let key = ObjectKey::of(&pod.metadata);
        let api = Api::<Pod>::namespaced(self.control.client.clone(), &key.namespace);
        match api.patch(&key.name, &PatchParams::default(), &Patch::Strategic(&patch)).await {
            // Gone, or another pod of that name.
            Err(error) if write::is_not_found(&error) || write::is_conflict(&error) => Ok(()),
            other => other.map(drop),
        }
    }
}
