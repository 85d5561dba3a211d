//! Pods that have to go because the node runs short of something, or because they keep more on its disk than they may.

mod local;
mod rank;
mod signals;

use std::collections::HashMap;
use std::sync::Arc;

use cri::v1::ContainerStats;
use k8s_openapi::api::core::v1::{Pod, Toleration};
use tokio::time::Instant;

use crate::admit;
use crate::config::Config;
use crate::container::labels;
use crate::context::Context;
use crate::housekeeping;
use crate::node::Facts;
use crate::podlife::Verdict;
use crate::pods::Pods;
use crate::{qos, sandbox, spec};
use local::OnDisk;
use rank::Candidate;
pub use signals::is_eviction_limit;
use signals::{Shortage, Signal};

const EVICTED: &str = "Evicted";

/// What the node is short of, as its conditions tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pressure {
    pub(crate) memory: bool,
    pub(crate) disk: bool,
    pub(crate) pids: bool,
}

impl Pressure {
    /// As it is at this moment.
    pub(crate) fn now(config: &Config, facts: &Facts) -> Self {
        Self::of(&signals::shortages(&config.eviction_hard, facts, &config.root_dir))
    }

    fn of(shortages: &[Shortage]) -> Self {
        let any = |wanted: fn(Signal) -> bool| shortages.iter().any(|shortage| wanted(shortage.signal));
        Self { memory: any(|s| s == Signal::Memory), disk: any(Signal::is_disk), pids: any(|s| s == Signal::Pids) }
    }

    /// Why a pod that comes now is turned away.
    pub(crate) fn refuse(self, pod: &Pod) -> Option<Verdict> {
        let tolerated = |toleration: &Toleration| {
            let effect = toleration.effect.as_deref();
            let key = toleration.key.as_deref().unwrap_or_default();
            matches!(effect, None | Some("NoSchedule")) && matches!(key, "" | "node.kubernetes.io/memory-pressure")
        };
        let patient = qos::class(pod) != qos::Class::BestEffort
            || spec::pod_spec(pod).tolerations.iter().flatten().any(tolerated);
        let kinds =
            [("DiskPressure", self.disk), ("MemoryPressure", self.memory && !patient), ("PIDPressure", self.pids)];
        let kinds: Vec<&str> = kinds.into_iter().filter(|(_, is)| *is).map(|(kind, _)| kind).collect();
        if kinds.is_empty() || rank::is_critical(pod) {
            return None;
        }
        let message = format!("The node had condition: [{}]. ", kinds.join(" "));
        Some(Verdict { reason: EVICTED.to_owned(), message, grace_seconds: None, disruption: false })
    }
}

/// Looks at intervals until it is dropped.
pub(crate) async fn run(context: Arc<Context>, pods: Arc<Pods>, facts: Facts) {
    let mut keeper = Keeper { context, pods, facts, seen: [None; 3] };
    loop {
        keeper.look().await;
        tokio::time::sleep(keeper.context.config.eviction_period).await;
    }
}

struct Keeper {
    context: Arc<Context>,
    pods: Arc<Pods>,
    facts: Facts,
    /// When memory, disk and process ids were short last.
    seen: [Option<Instant>; 3],
}

impl Keeper {
    async fn look(&mut self) {
        let mut shortages = self.shortages();
        self.tell(Pressure::of(&shortages));
        if shortages.is_empty() && !self.active().iter().any(|pod| local::is_limited(pod)) {
            return;
        }
        let stats = match self.context.engine.list_container_stats(None).await {
            Ok(stats) => stats,
            Err(error) => return tracing::debug!(%error, "engine gives no figures"),
        };
        self.end_those_over_limits(&stats).await;
        if shortages.iter().any(|shortage| shortage.signal.is_disk()) {
            housekeeping::free_all_images(&self.context).await;
            shortages = self.shortages();
        }
        // One at a time: what it leaves may be enough.
        if let Some(shortage) = shortages.first() {
            let candidates = self.candidates(shortage.signal, &stats).await;
            match rank::first(shortage.signal, candidates) {
                Some(candidate) => self.pods.evict(&candidate.pod, rank::verdict(*shortage, &candidate)),
                None => tracing::warn!(resource = shortage.signal.resource(), "short, and no pod that could go"),
            }
        }
    }

    fn shortages(&self) -> Vec<Shortage> {
        let config = &self.context.config;
        signals::shortages(&config.eviction_hard, &self.facts, &config.root_dir)
    }

    /// A condition stays for a while after its cause has gone, so that it does not flap.
    fn tell(&mut self, now: Pressure) {
        let keep = self.context.config.eviction_pressure_transition_period;
        let [memory, disk, pids] = &mut self.seen;
        let is = |short: bool, seen: &mut Option<Instant>| {
            if short {
                *seen = Some(Instant::now());
            }
            seen.is_some_and(|at| at.elapsed() < keep) || short
        };
        let told = Pressure { memory: is(now.memory, memory), disk: is(now.disk, disk), pids: is(now.pids, pids) };
        self.context.pressure.send_if_modified(|before| std::mem::replace(before, told) != told);
    }

    async fn end_those_over_limits(&self, stats: &[ContainerStats]) {
        for pod in self.active().into_iter().filter(|pod| local::is_limited(pod)) {
            let used = self.on_disk(&pod, stats).await;
            if let Some(verdict) = local::exceeded(&pod, &used) {
                self.pods.evict(&pod, verdict);
            }
        }
    }

    fn active(&self) -> Vec<Arc<Pod>> {
        let ending = |pod: &Pod| admit::is_terminal(pod) || pod.metadata.deletion_timestamp.is_some();
        self.pods.list().into_iter().filter(|pod| !ending(pod)).collect()
    }

    async fn candidates(&self, signal: Signal, stats: &[ContainerStats]) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for pod in self.active() {
            let usage = match signal {
                Signal::Memory => of_pod(&pod, stats)
                    .map(|(name, stats)| {
                        let set = stats.memory.as_ref().and_then(|memory| memory.working_set_bytes);
                        (name.to_owned(), set.map_or(0, |set| i64::try_from(set.value).unwrap_or(i64::MAX)))
                    })
                    .collect(),
                Signal::Storage | Signal::Inodes => {
                    let used = self.on_disk(&pod, stats).await;
                    if signal == Signal::Inodes {
                        vec![(String::new(), used.inodes)]
                    } else {
                        let volumes = used.volumes.into_values().sum();
                        used.containers.into_iter().chain([(String::new(), volumes)]).collect()
                    }
                }
                Signal::Pids => Vec::new(),
            };
            candidates.push(Candidate { pod, usage });
        }
        candidates
    }

    async fn on_disk(&self, pod: &Arc<Pod>, stats: &[ContainerStats]) -> OnDisk {
        let mut containers: HashMap<String, i64> = HashMap::new();
        for (name, stats) in of_pod(pod, stats) {
            let written = stats.writable_layer.as_ref().and_then(|layer| layer.used_bytes);
            let written = written.map_or(0, |bytes| i64::try_from(bytes.value).unwrap_or(i64::MAX));
            *containers.entry(name.to_owned()).or_default() += written;
        }
        let logs = sandbox::log_directory(pod, &self.context.config);
        let volumes: Vec<_> =
            local::folders(pod).map(|volume| (volume.name.clone(), self.context.volumes.path(pod, volume))).collect();
        let measured = tokio::task::spawn_blocking(move || {
            let mut used = OnDisk::default();
            for (name, bytes) in &mut containers {
                *bytes = bytes.saturating_add(local::usage(&logs.join(name)).0);
            }
            for (name, path) in volumes {
                let (bytes, inodes) = local::usage(&path);
                used.volumes.insert(name, bytes);
                used.inodes += inodes;
            }
            OnDisk { containers, ..used }
        });
        measured.await.unwrap_or_default()
    }
}

/// The figures of a pod's containers.
fn of_pod<'a>(pod: &Pod, stats: &'a [ContainerStats]) -> impl Iterator<Item = (&'a str, &'a ContainerStats)> {
    let uid = spec::uid(pod).to_owned();
    stats.iter().filter_map(move |stats| {
        let labels = &stats.attributes.as_ref()?.labels;
        let name = labels.get(labels::CONTAINER_NAME)?;
        labels.get(labels::POD_UID).is_some_and(|owner| *owner == uid).then_some((name.as_str(), stats))
    })
}
