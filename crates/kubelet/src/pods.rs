//! The pods of this node: a worker for each, and news brought to it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use client::{Change, HandlerGuard, Informer};
use cri::v1::{ContainerEventResponse, PodSandbox};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admit;
use crate::container::labels;
use crate::context::Context;
use crate::housekeeping::{self, UnusedSince};
use crate::podlife::Verdict;
use crate::spec;
use crate::statics;
use crate::volumes;
use crate::worker::{Inbox, Worker};

struct Handle {
    inbox: Arc<Inbox>,
    pod: Arc<Pod>,
    /// No longer in the API.
    gone: bool,
    /// It waits for resources that others have.
    waits: bool,
}

pub(crate) struct Pods {
    context: Arc<Context>,
    /// By uid.
    workers: Mutex<HashMap<String, Handle>>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    /// The files of static pods have been read.
    pub(crate) statics_read: watch::Sender<bool>,
    /// A mirror pod changed.
    pub(crate) mirrors: Notify,
    /// Counts the engine's events.
    changes: watch::Sender<u64>,
}

impl Pods {
    pub(crate) fn new(context: Arc<Context>, shutdown: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            context,
            workers: Mutex::default(),
            tasks: TaskTracker::new(),
            shutdown,
            statics_read: watch::Sender::new(false),
            mirrors: Notify::new(),
            changes: watch::Sender::new(0),
        })
    }

    /// Follows the API server's view for as long as the guard is held.
    pub(crate) fn follow(self: &Arc<Self>, informer: &Informer<Pod>) -> HandlerGuard<Pod> {
        let pods = Arc::clone(self);
        informer.on_change(move |change| match change {
            // A mirror is a shadow: what is real comes from the file.
            Change::Applied { new, .. } if statics::is_mirror(new) => pods.mirrored(new),
            Change::Deleted { old, .. } if statics::is_mirror(old) => pods.mirrors.notify_one(),
            Change::Applied { new, .. } => pods.apply(new),
            Change::Deleted { old, .. } => pods.delete(old),
            Change::Resync => {}
        })
    }

    pub(crate) fn list(&self) -> Vec<Arc<Pod>> {
        self.workers.lock().values().map(|handle| Arc::clone(&handle.pod)).collect()
    }

    /// The pod of this name that is the latest.
    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let workers = self.workers.lock();
        let named = workers
            .values()
            .filter(|handle| spec::name(&handle.pod) == name && spec::namespace(&handle.pod) == namespace);
        named.max_by_key(|handle| handle.pod.metadata.creation_timestamp.clone()).map(|handle| Arc::clone(&handle.pod))
    }

    /// What a mirror says is what was told of its pod.
    fn mirrored(&self, mirror: &Pod) {
        self.mirrors.notify_one();
        let workers = self.workers.lock();
        let real = workers.values().find(|handle| statics::mirrors(mirror, &handle.pod));
        if let Some(real) = real {
            real.inbox.told(mirror.status.clone().unwrap_or_default());
        }
    }

    pub(crate) fn apply(self: &Arc<Self>, pod: &Arc<Pod>) {
        let uid = spec::uid(pod).to_owned();
        let mut workers = self.workers.lock();
        if let Some(handle) = workers.get_mut(&uid) {
            let ended = admit::is_terminal(pod) && !admit::is_terminal(&handle.pod);
            let before = std::mem::replace(&mut handle.pod, Arc::clone(pod));
            self.judge_resize(&uid, &mut workers);
            if let Some(handle) = workers.get(&uid) {
                handle.inbox.pod(Some(&before), Arc::clone(pod));
            }
            if ended {
                self.judge_waiting(&mut workers);
            }
            return;
        }
        let inbox = Arc::new(Inbox::default());
        if let Some(verdict) = self.refuse(pod, &workers) {
            self.context.recorder.warning(&client::reference(&**pod), &verdict.reason, verdict.message.clone());
            inbox.verdict(verdict);
        }
        workers
            .insert(uid.clone(), Handle { inbox: Arc::clone(&inbox), pod: Arc::clone(pod), gone: false, waits: false });
        drop(workers);
        let worker = Worker::new(Arc::clone(&self.context), inbox, Arc::clone(pod));
        let pods = Arc::clone(self);
        self.tasks.spawn(async move {
            let run = worker.run(pods.shutdown.clone());
            let ended = std::panic::AssertUnwindSafe(run).catch_unwind().await;
            let handle = pods.workers.lock().remove(&uid);
            if ended.is_err() {
                tracing::error!(uid, "worker of a pod panicked; it is started anew");
                if let Some(handle) = handle.filter(|_| !pods.shutdown.is_cancelled()) {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    pods.apply(&handle.pod);
                }
            }
        });
    }

    pub(crate) fn delete(&self, pod: &Arc<Pod>) {
        let mut workers = self.workers.lock();
        if let Some(handle) = workers.get_mut(spec::uid(pod)) {
            handle.inbox.pod(None, Arc::clone(pod));
            handle.gone = true;
            handle.inbox.gone();
            self.judge_waiting(&mut workers);
        }
    }

    /// Whether a pod can have the resources that it asks for by now.
    fn judge_resize(&self, uid: &str, workers: &mut HashMap<String, Handle>) {
        let Some(pod) = workers.get(uid).map(|handle| Arc::clone(&handle.pod)) else { return };
        let others = workers.iter().filter(|(other, handle)| *other != uid && !handle.gone);
        let others = others.map(|(_, handle)| &*handle.pod);
        let refusal = admit::refuse_resize(&pod, others, &self.context.allocatable);
        let Some(handle) = workers.get_mut(uid) else { return };
        if refusal.is_some() || handle.waits {
            handle.waits = refusal.is_some();
            handle.inbox.refusal(refusal);
        }
    }

    /// Somebody gave up resources.
    fn judge_waiting(&self, workers: &mut HashMap<String, Handle>) {
        let waiting = workers.iter().filter(|(_, handle)| handle.waits).map(|(uid, _)| uid.clone());
        for uid in waiting.collect::<Vec<_>>() {
            self.judge_resize(&uid, workers);
        }
    }

    /// Only a pod that was never begun is turned away.
    fn refuse(&self, pod: &Pod, workers: &HashMap<String, Handle>) -> Option<Verdict> {
        let begun = pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
        if begun || pod.metadata.deletion_timestamp.is_some() || statics::is_static(pod) {
            return None;
        }
        if let Some(verdict) = self.context.pressure.borrow().refuse(pod) {
            return Some(verdict);
        }
        let refused = admit::refuse_settings(pod, &self.context.config.allowed_unsafe_sysctls);
        if refused.is_some() {
            return refused;
        }
        let others = workers.values().filter(|handle| !handle.gone).map(|handle| &*handle.pod);
        admit::refuse(pod, others, &self.context.allocatable, self.context.config.max_pods)
    }

    /// A pod that runs has to end.
    pub(crate) fn evict(&self, pod: &Pod, verdict: Verdict) {
        if let Some(handle) = self.workers.lock().get(spec::uid(pod)) {
            tracing::info!(pod = spec::display(pod), why = verdict.message, "evicted");
            self.context.recorder.warning(&client::reference(pod), &verdict.reason, verdict.message.clone());
            handle.inbox.verdict(verdict);
        }
    }

    fn wake(&self, uid: &str) {
        if let Some(handle) = self.workers.lock().get(uid) {
            handle.inbox.look();
        }
    }

    fn wake_all(&self) {
        for handle in self.workers.lock().values() {
            handle.inbox.look();
        }
    }

    /// Changes whenever something happens in the engine.
    pub(crate) fn engine_changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Brings the engine's events to the workers.
    pub(crate) async fn listen(self: Arc<Self>) {
        let mut pause = Duration::from_millis(50);
        loop {
            match self.context.engine.container_events().await {
                Ok(mut events) => {
                    pause = Duration::from_millis(50);
                    // Something may have happened before.
                    self.wake_all();
                    while let Some(event) = events.next().await {
                        match event {
                            Ok(event) => self.hear(&event),
                            Err(error) => {
                                tracing::warn!(%error, "engine's events broke off");
                                break;
                            }
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "engine gives no events"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    fn hear(&self, event: &ContainerEventResponse) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
        let sandbox = event.pod_sandbox_status.as_ref();
        let uid = sandbox.and_then(|sandbox| sandbox.metadata.as_ref()).map(|metadata| metadata.uid.as_str());
        match uid.filter(|uid| !uid.is_empty()) {
            Some(uid) => self.wake(uid),
            None => self.wake_all(),
        }
    }

    /// The safety net: looks at everything at long intervals, in case an event was lost.
    pub(crate) async fn relist(self: Arc<Self>, synced: Informer<Pod>) {
        // What is not known yet is not an orphan.
        synced.synced().await;
        if self.statics_read.subscribe().wait_for(|read| *read).await.is_err() {
            return;
        }
        let (mut known, mut unused) = (HashMap::new(), UnusedSince::new());
        loop {
            if let Err(error) = self.relist_once(&mut known, &mut unused).await {
                tracing::warn!(%error, "engine does not list");
            }
            tokio::time::sleep(self.context.config.relist_period).await;
        }
    }

    async fn relist_once(
        &self,
        known: &mut HashMap<String, i32>,
        unused: &mut UnusedSince,
    ) -> Result<(), cri::CriError> {
        let engine = &self.context.engine;
        let (containers, sandboxes) = tokio::try_join!(engine.list_containers(None), engine.list_pod_sandbox(None))?;
        let mut seen = HashMap::new();
        for container in &containers {
            if known.get(&container.id).is_some_and(|state| *state != container.state)
                && let Some(uid) = container.labels.get(labels::POD_UID)
            {
                self.wake(uid);
            }
            seen.insert(container.id.clone(), container.state);
        }
        *known = seen;
        self.remove_orphans(&sandboxes).await;
        housekeeping::rotate_logs(&self.context, &containers).await;
        housekeeping::free_images(&self.context, &containers, unused).await;
        Ok(())
    }

    /// What belongs to no pod of this node is stopped and removed.
    async fn remove_orphans(&self, sandboxes: &[PodSandbox]) {
        let uids: HashSet<String> = self.workers.lock().keys().cloned().collect();
        let engine = &self.context.engine;
        let orphans = sandboxes
            .iter()
            .filter(|sandbox| sandbox.labels.get(labels::POD_UID).is_some_and(|uid| !uids.contains(uid)));
        for sandbox in orphans {
            tracing::info!(id = sandbox.id, "removing the sandbox of a pod that is no longer here");
            if let Err(error) = self.stop_orphan(sandbox).await {
                tracing::warn!(id = sandbox.id, %error, "orphaned sandbox not removed");
            }
        }
        if let Err(error) = engine.status(cri::v1::StatusRequest::default()).await {
            tracing::debug!(%error, "engine gives no status");
            return;
        }
        for uid in volumes::left_over(&self.context.config) {
            if !self.workers.lock().contains_key(&uid)
                && let Err(error) = self.context.volumes.tear_down(&uid).await
            {
                tracing::warn!(uid, %error, "folder of a pod that is no longer here not removed");
            }
        }
    }

    async fn stop_orphan(&self, sandbox: &PodSandbox) -> Result<(), cri::CriError> {
        let engine = &self.context.engine;
        let filter = cri::v1::ContainerFilter { pod_sandbox_id: sandbox.id.clone(), ..Default::default() };
        let containers = engine.list_containers(Some(filter)).await?;
        let stops = containers.iter().map(|container| engine.stop_container(&container.id, 30));
        futures::future::try_join_all(stops).await?;
        engine.stop_pod_sandbox(&sandbox.id).await?;
        engine.remove_pod_sandbox(&sandbox.id).await
    }

    /// Waits until every worker has let go. Containers stay.
    pub(crate) async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
