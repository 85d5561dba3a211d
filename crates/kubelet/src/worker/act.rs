//! Carries out what was decided, beside the worker.

use std::sync::Arc;
use std::time::Duration;

use client::{reference, write};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use kube::Api;
use kube::api::{DeleteParams, Preconditions};

use super::{Worker, start, tell};
use crate::container::Addresses;
use crate::podlife::{Action, KillReason, Progress, Record, Step, Waiting};
use crate::record::ContainerEvents;
use crate::start_error::StartError;
use crate::{cgroups, sandbox, spec, statics};

/// A request to the API server or the engine takes at most this long; longer ones have limits of their own.
pub(super) const REQUEST: Duration = Duration::from_secs(120);

/// What came to its end.
pub(super) enum Finished {
    Nothing,
    Volumes { result: Result<Option<Timestamp>, String>, refresh: bool },
    Sandbox(Result<(), String>),
    SandboxStopped(Result<(), String>),
    Started { name: String, result: Result<(), StartError> },
    Resized { name: String, given: Box<ResourceRequirements>, result: Result<(), String> },
    Killed { id: String, error: Option<String> },
    Removed { id: String },
    CleanedUp { all: bool, result: Result<(), String> },
    Deleted(Result<(), String>),
    Told(tell::Told),
}

fn failed(seconds: i64) -> Step {
    Step::Failed { retry_at: later(seconds) }
}

pub(super) fn later(seconds: i64) -> Timestamp {
    let now = Timestamp::now();
    now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(now)
}

impl Worker {
    pub(super) fn act(&mut self, action: Action) {
        tracing::debug!(pod = spec::display(&self.pod), ?action, "acting");
        match action {
            Action::SetUpVolumes => {
                self.progress.volumes = Step::Doing;
                self.set_up_volumes(false);
            }
            Action::RunSandbox { attempt } => self.run_sandbox(attempt),
            Action::StopSandbox { id } => self.stop_sandbox(id),
            Action::Start { name, attempt } => self.start(name, attempt),
            Action::Kill { id, name, grace_seconds, reason } => self.kill(&id, &name, grace_seconds, &reason),
            Action::Resize { id, name } => self.resize(id, name),
            Action::Remove { id } => self.remove(id),
            Action::CleanUp { all } => self.clean_up(all),
            Action::Delete => self.delete(),
        }
    }

    fn set_up_volumes(&mut self, refresh: bool) {
        let (context, pod, kept) = (Arc::clone(&self.context), Arc::clone(&self.pod), Arc::clone(&self.kept));
        let addresses = Addresses { pod: self.pod_ips(), host: self.context.host_ips.clone() };
        self.work.spawn(async move {
            let made = context.volumes.set_up(&pod, &kept, &addresses, &context.allocatable);
            let result = tokio::time::timeout(REQUEST, made).await;
            let result = match result {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(_) => Err("timed out waiting for volumes".to_owned()),
            };
            Finished::Volumes { result, refresh }
        });
    }

    /// Brings files up to date; one at a time, and once more if something changed meanwhile.
    pub(super) fn refresh(&mut self) {
        if self.progress.volumes != Step::Done || self.refreshing {
            self.renew_at = Some(later(1));
            return;
        }
        self.refreshing = true;
        self.renew_at = None;
        self.set_up_volumes(true);
    }

    fn run_sandbox(&mut self, attempt: u32) {
        self.progress.sandbox = Step::Doing;
        let (context, pod) = (Arc::clone(&self.context), Arc::clone(&self.pod));
        let old: Vec<String> = self.observed.sandboxes.iter().map(|sandbox| sandbox.id.clone()).collect();
        if attempt > 0 {
            let message = "Pod sandbox changed, it will be killed and re-created.";
            context.recorder.normal(&reference(&*pod), "SandboxChanged", message);
        }
        self.work.spawn(async move {
            let run = start::run_sandbox(&context, &pod, attempt, &old);
            let result = tokio::time::timeout(REQUEST, run).await;
            Finished::Sandbox(result.unwrap_or_else(|_| Err("timed out running the sandbox".to_owned())))
        });
    }

    fn stop_sandbox(&mut self, id: String) {
        self.progress.stop_sandbox = Step::Doing;
        let context = Arc::clone(&self.context);
        self.work.spawn(async move {
            let result = tokio::time::timeout(REQUEST, context.engine.stop_pod_sandbox(&id)).await;
            Finished::SandboxStopped(match result {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(_) => Err("timed out stopping the sandbox".to_owned()),
            })
        });
    }

    fn start(&mut self, name: String, attempt: u32) {
        let Some(sandbox) = self.observed.sandboxes.first().cloned() else { return };
        self.progress.starting.insert(name.clone());
        self.progress.waiting.remove(&name);
        let regroup = self.regroup(&name);
        let start = start::Start {
            context: Arc::clone(&self.context),
            pod: Arc::clone(&self.pod),
            kept: Arc::clone(&self.kept),
            sandbox_id: sandbox.id,
            addresses: Addresses { pod: self.pod_ips(), host: self.context.host_ips.clone() },
            target_id: self.target_of(&name),
            attempt,
        };
        let cancelled = self.starts.clone();
        self.work.spawn(async move {
            if let Some(regroup) = regroup {
                regroup.run().await;
            }
            let result = tokio::select! {
                result = start.run(&name) => result,
                () = cancelled.cancelled() => Err(StartError::new("ContainerCreating", "the pod ends")),
            };
            Finished::Started { name, result }
        });
    }

    /// The container whose processes an ephemeral container wants to see.
    fn target_of(&self, name: &str) -> Option<String> {
        let ephemeral = spec::pod_spec(&self.pod).ephemeral_containers.iter().flatten();
        let target = ephemeral.into_iter().find(|container| container.name == name)?.target_container_name.clone()?;
        self.observed.containers.iter().find(|record| record.name == target).map(|record| record.id.clone())
    }

    fn kill(&mut self, id: &str, name: &str, grace_seconds: i64, reason: &KillReason) {
        self.progress.stopping.insert(id.to_owned(), later(grace_seconds));
        let Some(record) = self.observed.containers.iter().find(|record| record.id == id).cloned() else { return };
        let again = !matches!(reason, KillReason::PodEnds) && spec::restart_policy(&self.pod) != "Never";
        if again {
            self.progress.restarts.insert(id.to_owned());
        }
        self.tell_kill(name, reason);
        let (context, pod) = (Arc::clone(&self.context), Arc::clone(&self.pod));
        let ip = self.pod_ips().first().cloned();
        self.work.spawn(async move {
            let error = kill(&context, &pod, &record, grace_seconds, ip.as_deref()).await;
            Finished::Killed { id: record.id, error }
        });
    }

    fn tell_kill(&self, name: &str, reason: &KillReason) {
        let Some(entry) = spec::find(&self.pod, name) else { return };
        let message = match reason {
            KillReason::PodEnds => format!("Stopping container {name}"),
            KillReason::Probe(probe) => format!("Container {name} failed {probe} probe, will be restarted"),
            KillReason::Changed => format!("Container {name} definition changed, will be restarted"),
            KillReason::Resized => format!("Container {name} resize requires restart"),
        };
        ContainerEvents::new(&self.context.recorder, &self.pod, &entry).normal("Killing", message);
    }

    fn remove(&mut self, id: String) {
        self.progress.removing.insert(id.clone());
        let context = Arc::clone(&self.context);
        self.work.spawn(async move {
            if let Err(error) = context.engine.remove_container(&id).await {
                tracing::debug!(%error, id, "dead container not removed");
            }
            Finished::Removed { id }
        });
    }

    fn clean_up(&mut self, all: bool) {
        let step: &mut Step = if all { &mut self.progress.remove } else { &mut self.progress.clean_up };
        *step = Step::Doing;
        let (context, pod) = (Arc::clone(&self.context), Arc::clone(&self.pod));
        let sandboxes: Vec<String> = self.observed.sandboxes.iter().map(|sandbox| sandbox.id.clone()).collect();
        self.work.spawn(async move {
            let sandboxes: &[String] = if all { &sandboxes } else { &[] };
            let result = tokio::time::timeout(REQUEST, clean_up(&context, &pod, all, sandboxes)).await;
            let result = result.unwrap_or_else(|_| Err("timed out cleaning up".to_owned()));
            Finished::CleanedUp { all, result }
        });
    }

    /// The last word: only after the API server has heard how the pod ended.
    fn delete(&mut self) {
        if self.telling || self.told != self.status {
            return;
        }
        self.progress.delete = Step::Doing;
        let (context, pod) = (Arc::clone(&self.context), Arc::clone(&self.pod));
        self.work.spawn(async move {
            let result = tokio::time::timeout(REQUEST, delete(&context, &pod)).await;
            Finished::Deleted(result.unwrap_or_else(|_| Err("timed out deleting the pod".to_owned())))
        });
    }

    pub(super) fn finish(&mut self, finished: Result<Finished, tokio::task::JoinError>) {
        let finished = match finished {
            Ok(finished) => finished,
            Err(error) => {
                tracing::error!(pod = spec::display(&self.pod), %error, "work for a pod ended abnormally");
                // Whatever it was is seen to be undone, and done again.
                let Progress { backoff, probed, .. } = std::mem::take(&mut self.progress);
                self.progress = Progress { backoff, probed, ..Progress::default() };
                self.work.abort_all();
                self.telling = false;
                self.inbox.look();
                return;
            }
        };
        match finished {
            Finished::Nothing => return,
            Finished::Told(told) => return self.take_told(told),
            Finished::Volumes { result, refresh } => return self.volumes_made(result, refresh),
            Finished::Sandbox(result) => self.sandbox_ran(result),
            Finished::SandboxStopped(result) => {
                self.progress.stop_sandbox =
                    result.map_or_else(|error| self.fails("KillPodSandboxError", &error), |()| Step::Todo);
            }
            Finished::Started { name, result } => self.started(name, result),
            Finished::Resized { name, given, result } => self.resized(name, *given, result),
            Finished::Killed { id, error } => {
                self.progress.stopping.remove(&id);
                if let Some(error) = error {
                    self.fails("FailedKillPod", &format!("error killing pod: {error}"));
                }
            }
            Finished::Removed { id } => {
                self.progress.removing.remove(&id);
                self.progress.restarts.remove(&id);
                self.last_words.remove(&id);
            }
            Finished::CleanedUp { all, result } => {
                let step = result.map_or_else(|error| self.fails("FailedKillPod", &error), |()| Step::Done);
                if all {
                    self.progress.remove = step;
                } else {
                    self.progress.clean_up = step;
                }
                return;
            }
            Finished::Deleted(result) => {
                self.progress.delete = result.map_or_else(|error| self.fails("FailedKillPod", &error), |()| Step::Done);
                return;
            }
        }
        self.inbox.look();
    }

    fn fails(&self, reason: &str, error: &str) -> Step {
        tracing::warn!(pod = spec::display(&self.pod), reason, error, "pod does not go on");
        self.context.recorder.warning(&reference(&*self.pod), reason, error);
        failed(2)
    }

    fn volumes_made(&mut self, result: Result<Option<Timestamp>, String>, refresh: bool) {
        match result {
            Ok(renew_at) => {
                if !refresh {
                    let inbox = Arc::clone(&self.inbox);
                    let changed: Arc<dyn Fn() + Send + Sync> = Arc::new(move || inbox.refresh());
                    self.context.volumes.watch(&self.pod, &self.kept, &changed);
                    self.progress.volumes = Step::Done;
                }
                // Something may have asked for another refresh meanwhile.
                self.renew_at = self.renew_at.into_iter().chain(renew_at).min();
            }
            Err(error) if refresh => {
                tracing::debug!(pod = spec::display(&self.pod), error, "volumes not refreshed");
                self.renew_at = Some(later(10));
            }
            Err(error) => {
                self.context.recorder.warning(&reference(&*self.pod), "FailedMount", error);
                self.progress.volumes = failed(1);
            }
        }
        if refresh {
            self.refreshing = false;
        }
    }

    fn sandbox_ran(&mut self, result: Result<(), String>) {
        // Not at once again, should it turn out to be gone already.
        self.progress.sandbox = failed(1);
        if let Err(error) = result {
            let message = format!("Failed to create pod sandbox: {error}");
            tracing::warn!(pod = spec::display(&self.pod), error, "sandbox not run");
            self.context.recorder.warning(&reference(&*self.pod), "FailedCreatePodSandBox", message);
        }
    }

    fn started(&mut self, name: String, result: Result<(), StartError>) {
        self.progress.starting.remove(&name);
        let Err(error) = result else {
            self.failed_starts.remove(&name);
            return;
        };
        let failures = self.failed_starts.entry(name.clone()).or_insert(0);
        let pause = error.retry_after.unwrap_or_else(|| Duration::from_secs(1_u64 << (*failures).min(6)));
        *failures += 1;
        let now = Timestamp::now();
        let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::from_secs(60));
        let retry_at = now.checked_add(pause).unwrap_or(now);
        let waiting = Waiting { reason: error.reason.to_owned(), message: error.message, retry_at };
        self.progress.waiting.insert(name, waiting);
    }
}

/// preStop hook, then the stop signal, then the end by force; all within the grace period, but with two seconds at
/// least for the signal.
async fn kill(
    context: &crate::context::Context,
    pod: &Pod,
    record: &Record,
    grace_seconds: i64,
    ip: Option<&str>,
) -> Option<String> {
    let grace = Duration::from_secs(u64::try_from(grace_seconds).unwrap_or(0));
    let begin = tokio::time::Instant::now();
    let entry = spec::find(pod, &record.name);
    let hook = entry.as_ref().and_then(|entry| entry.container.lifecycle.as_ref()?.pre_stop.clone());
    if let (Some(entry), Some(hook)) = (&entry, hook) {
        let run = super::hooks::run(context, entry, &hook, &record.id, ip);
        let error = match tokio::time::timeout(grace, run).await {
            Ok(result) => result.err(),
            Err(_) => Some("PreStop hook did not complete in grace period".to_owned()),
        };
        if let Some(error) = error {
            let events = ContainerEvents::new(&context.recorder, pod, entry);
            events.warning("FailedPreStopHook", format!("PreStopHook failed: {error}"));
        }
    }
    let left = grace.saturating_sub(begin.elapsed()).max(Duration::from_secs(2));
    let left_seconds = i64::try_from(left.as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
    let stop = context.engine.stop_container(&record.id, left_seconds);
    match tokio::time::timeout(left + REQUEST, stop).await {
        Ok(result) => result.err().map(|error| error.to_string()),
        Err(_) => Some(format!("container {} did not stop", record.name)),
    }
}

async fn clean_up(context: &crate::context::Context, pod: &Pod, all: bool, sandboxes: &[String]) -> Result<(), String> {
    let removed = sandboxes.iter().map(|id| context.engine.remove_pod_sandbox(id));
    futures::future::try_join_all(removed).await.map_err(|error| error.to_string())?;
    if context.config.cgroups_per_qos {
        cgroups::remove(pod, &context.config).await?;
    }
    if all {
        let logs = sandbox::log_directory(pod, &context.config);
        match tokio::fs::remove_dir_all(&logs).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %logs.display(), "logs of a pod not removed");
            }
            _ => {}
        }
        context.images.forget(spec::uid(pod));
    }
    context.volumes.tear_down(spec::uid(pod)).await.map_err(|error| error.to_string())
}

async fn delete(context: &crate::context::Context, pod: &Pod) -> Result<(), String> {
    if statics::is_static(pod) {
        // Its mirror is not the worker's.
        return Ok(());
    }
    let api: Api<Pod> = Api::namespaced(context.client.clone(), spec::namespace(pod));
    let preconditions = Preconditions { uid: pod.metadata.uid.clone(), ..Default::default() };
    let params =
        DeleteParams { grace_period_seconds: Some(0), preconditions: Some(preconditions), ..Default::default() };
    match api.delete(spec::name(pod), &params).await {
        Ok(_) => Ok(()),
        // Another pod of this name is not ours to delete.
        Err(error) if write::is_not_found(&error) || write::is_conflict(&error) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
