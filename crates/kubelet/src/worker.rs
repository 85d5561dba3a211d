//! One task per pod: it looks, lets `podlife` decide, and carries out. Whatever takes time runs beside it, so that the
//! next decision never waits for the last one's work.

mod act;
mod build;
mod hooks;
mod inbox;
mod last_words;
mod observe;
mod resize;
mod start;
mod tell;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::podlife::{self, Input, Observed, Probed, Progress, State, Verdict};
use crate::probes::ProbeSet;
use crate::record::ContainerEvents;
use crate::volumes::Kept;
use crate::{spec, statics};
use act::Finished;
pub(crate) use inbox::Inbox;

pub(crate) struct Worker {
    context: Arc<Context>,
    inbox: Arc<Inbox>,
    pod: Arc<Pod>,
    gone: bool,
    verdict: Option<Verdict>,
    observed: Observed,
    progress: Progress,
    /// The status decided on last, and the one that the API server took last.
    status: PodStatus,
    told: PodStatus,
    /// The revision at which it was taken.
    told_at: u64,
    telling: bool,
    tell_failures: u32,
    tell_retry: Option<Timestamp>,
    kept: Arc<Kept>,
    renew_at: Option<Timestamp>,
    refreshing: bool,
    work: JoinSet<Finished>,
    /// Ends starts under way when the pod has to end.
    starts: CancellationToken,
    probes: HashMap<String, ProbeSet>,
    /// What ended containers left as their last words, by id.
    last_words: HashMap<String, String>,
    /// Containers that were in crash back-off at the last decision.
    crash_loop: HashSet<String>,
    /// Failed starts in a row, by container name.
    failed_starts: HashMap<String, u32>,
}

impl Worker {
    pub(crate) fn new(context: Arc<Context>, inbox: Arc<Inbox>, pod: Arc<Pod>) -> Self {
        let told = pod.status.clone().unwrap_or_default();
        Self {
            context,
            inbox,
            pod,
            gone: false,
            verdict: None,
            observed: Observed::default(),
            progress: Progress::default(),
            status: told.clone(),
            told,
            told_at: 0,
            telling: false,
            tell_failures: 0,
            tell_retry: None,
            kept: Arc::new(Kept::default()),
            renew_at: None,
            refreshing: false,
            work: JoinSet::new(),
            starts: CancellationToken::new(),
            probes: HashMap::new(),
            last_words: HashMap::new(),
            crash_loop: HashSet::new(),
            failed_starts: HashMap::new(),
        }
    }

    /// Runs until nothing of the pod is left, or until `shutdown`, which leaves its containers alone.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        self.look().await;
        loop {
            self.take_news().await;
            self.tend_probes();
            let plan = self.plan();
            self.status = plan.status;
            for (name, backoff) in plan.backoff {
                self.progress.backoff.insert(name, backoff);
            }
            self.tell_crash_loop(plan.crash_loop);
            for action in plan.actions {
                self.act(action);
            }
            self.tell();
            if plan.over && self.gone && !self.telling {
                break;
            }
            let wake = [plan.wake_at, self.renew_at, self.tell_retry].into_iter().flatten().min();
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.inbox.changed() => {}
                Some(finished) = self.work.join_next() => {
                    self.finish(finished);
                    // Whatever else is done by now belongs to the same look.
                    while let Some(finished) = self.work.try_join_next() {
                        self.finish(finished);
                    }
                }
                () = sleep_until(wake) => {}
            }
        }
        self.work.abort_all();
    }

    fn plan(&mut self) -> podlife::Plan {
        let plan = podlife::plan(&self.input());
        if self.is_ending() {
            self.starts.cancel();
        }
        plan
    }

    /// An event for each container that comes into crash back-off.
    fn tell_crash_loop(&mut self, now: HashSet<String>) {
        for name in now.difference(&self.crash_loop) {
            let Some(entry) = spec::find(&self.pod, name) else { continue };
            let message = format!("Back-off restarting failed container {name} in pod {}", spec::display(&self.pod));
            ContainerEvents::new(&self.context.recorder, &self.pod, &entry).warning("BackOff", message);
        }
        self.crash_loop = now;
    }

    fn is_ending(&self) -> bool {
        self.gone || self.verdict.is_some() || self.pod.metadata.deletion_timestamp.is_some()
    }

    fn input(&self) -> Input<'_> {
        Input {
            pod: &self.pod,
            observed: &self.observed,
            progress: &self.progress,
            last: &self.status,
            gone: self.gone,
            verdict: self.verdict.as_ref(),
            host_ips: &self.context.host_ips,
            runtime: &self.context.runtime,
            now: Timestamp::now(),
        }
    }

    async fn take_news(&mut self) {
        let news = self.inbox.take();
        if let Some(pod) = news.pod {
            self.pod = pod;
            self.take_foreign_conditions();
            // What is older than the last word says nothing about it; a static pod has its mirror.
            if !self.telling && tell::revision(&self.pod) > self.told_at && !statics::is_static(&self.pod) {
                tell::contradict(&mut self.told, &self.pod);
            }
            if self.downward_changed(&news.changed) {
                self.renew_at = Some(Timestamp::now());
            }
        }
        if let Some(refusal) = news.refusal {
            self.progress.refusal = refusal;
        }
        if let Some(told) = news.told {
            self.told = told;
        }
        self.gone |= news.gone;
        if let Some(verdict) = news.verdict {
            self.verdict = Some(verdict);
        }
        for (id, probed) in news.probed {
            self.progress.probed.insert(id, probed);
        }
        if news.look {
            self.look().await;
        }
        let due = self.renew_at.is_some_and(|at| at <= Timestamp::now());
        if (news.refresh || due) && !self.is_ending() {
            self.refresh();
        }
    }

    /// Labels and annotations may be files in the pod.
    fn downward_changed(&self, changed: &inbox::Changed) -> bool {
        let volumes = spec::pod_spec(&self.pod).volumes.iter().flatten();
        let mut downward = volumes.filter(|volume| volume.downward_api.is_some() || volume.projected.is_some());
        changed.meta && self.progress.volumes == podlife::Step::Done && downward.next().is_some()
    }

    /// Conditions that others write go into what is decided on, so that they are neither lost nor told again.
    fn take_foreign_conditions(&mut self) {
        let own: Vec<&str> = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
            .into_iter()
            .chain(podlife::RESIZE_CONDITIONS)
            .collect();
        let api = self.pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        for status in [&mut self.status, &mut self.told] {
            let conditions = status.conditions.get_or_insert_default();
            conditions.retain(|condition| own.contains(&condition.type_.as_str()));
            conditions.extend(api.iter().filter(|condition| !own.contains(&condition.type_.as_str())).cloned());
        }
    }

    /// Probes run for containers that run, and for no others.
    fn tend_probes(&mut self) {
        let running: Vec<_> =
            self.observed.containers.iter().filter(|record| record.state == State::Running).cloned().collect();
        self.probes.retain(|id, _| running.iter().any(|record| record.id == *id));
        self.progress.probed.retain(|id, _| running.iter().any(|record| record.id == *id));
        for record in running {
            if self.probes.contains_key(&record.id) {
                continue;
            }
            let Some(entry) = spec::find(&self.pod, &record.name) else { continue };
            let ip = self.pod_ips().first().cloned();
            let before = self.probed_before(&record.id);
            let set = ProbeSet::start(&self.context, &self.inbox, &self.pod, &entry, &record, ip, before.clone());
            self.progress.probed.entry(record.id.clone()).or_insert(before);
            self.probes.insert(record.id.clone(), set);
        }
    }

    /// A container that was ready before the kubelet was restarted is so until a probe says otherwise.
    fn probed_before(&self, id: &str) -> Probed {
        let lists = [&self.told.container_statuses, &self.told.init_container_statuses];
        let told = lists.into_iter().flatten().flatten();
        let told = told.into_iter().find(|status| status.container_id.as_ref().is_some_and(|told| told.ends_with(id)));
        told.map_or_else(Probed::default, |status| Probed {
            started: status.started.filter(|started| *started),
            ready: status.ready.then_some(true),
            failed: None,
        })
    }

    fn pod_ips(&self) -> Vec<String> {
        if spec::is_host_network(&self.pod) {
            return self.context.host_ips.clone();
        }
        self.observed.sandboxes.first().map(|sandbox| sandbox.ips.clone()).unwrap_or_default()
    }
}

async fn sleep_until(at: Option<Timestamp>) {
    let Some(at) = at else { return std::future::pending().await };
    let left = at.duration_since(Timestamp::now());
    let left = std::time::Duration::try_from(left).unwrap_or_default();
    tokio::time::sleep_until(Instant::now() + left + std::time::Duration::from_millis(1)).await;
}
