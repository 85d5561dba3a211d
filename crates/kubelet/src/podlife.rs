//! What a pod's containers do next, and what its status says. No clock, socket, file or task in here.

mod conditions;
mod containers;
mod ending;
mod phase;
pub(crate) mod resize;
mod restart;
mod running;
mod status;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus, ResourceRequirements};

pub(crate) use conditions::RESIZE as RESIZE_CONDITIONS;
pub(crate) use restart::CrashBackoff;

/// What the engine has of a pod.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    /// Newest first.
    pub(crate) sandboxes: Vec<Sandbox>,
    /// Of all sandboxes and attempts, newest first.
    pub(crate) containers: Vec<Record>,
}

#[derive(Debug, Clone)]
pub(crate) struct Sandbox {
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) ready: bool,
    pub(crate) ips: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Created,
    Running,
    Exited,
    Unknown,
}

/// One attempt of one container.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) sandbox_id: String,
    pub(crate) attempt: u32,
    pub(crate) state: State,
    pub(crate) hash: String,
    pub(crate) image: String,
    pub(crate) image_id: String,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) exit_code: i32,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// A part of the work that is done once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Step {
    #[default]
    Todo,
    Doing,
    Done,
    Failed {
        retry_at: Timestamp,
    },
}

impl Step {
    fn is_due(&self, now: Timestamp) -> bool {
        match self {
            Self::Todo => true,
            Self::Doing | Self::Done => false,
            Self::Failed { retry_at } => *retry_at <= now,
        }
    }

    fn retry_at(&self) -> Option<Timestamp> {
        match self {
            Self::Failed { retry_at } => Some(*retry_at),
            _ => None,
        }
    }
}

/// Why a container cannot be started now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) retry_at: Timestamp,
}

/// What the probes of one running container said so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Probed {
    pub(crate) started: Option<bool>,
    pub(crate) ready: Option<bool>,
    /// A startup or liveness probe failed for good; its name.
    pub(crate) failed: Option<&'static str>,
}

/// What the worker of a pod did and is doing.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) volumes: Step,
    pub(crate) sandbox: Step,
    pub(crate) stop_sandbox: Step,
    /// Volumes of a pod that ended are taken down.
    pub(crate) clean_up: Step,
    /// Containers, sandboxes and folders of a deleted pod are removed.
    pub(crate) remove: Step,
    /// The API object is deleted.
    pub(crate) delete: Step,
    /// Names of containers with a start under way.
    pub(crate) starting: HashSet<String>,
    /// By container name.
    pub(crate) waiting: HashMap<String, Waiting>,
    /// By container name.
    pub(crate) backoff: HashMap<String, CrashBackoff>,
    /// By container id: stop under way, and until when it may take.
    pub(crate) stopping: HashMap<String, Timestamp>,
    /// By container id.
    pub(crate) removing: HashSet<String>,
    /// By container id.
    pub(crate) probed: HashMap<String, Probed>,
    /// Ids of containers that were stopped to run again, however they ended.
    pub(crate) restarts: HashSet<String>,
    /// Resources that containers were started with, or given later, by name.
    pub(crate) given: HashMap<String, ResourceRequirements>,
    /// Names of containers that are being given others.
    pub(crate) resizing: HashSet<String>,
    /// Why that failed, and when it is tried again; by name.
    pub(crate) resize_failed: HashMap<String, (String, Timestamp)>,
    /// The node cannot give what the pod asks for by now.
    pub(crate) refusal: Option<resize::Refusal>,
}

/// Why a pod has to end although nobody deleted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) grace_seconds: Option<i64>,
    /// The node had to end it, which its conditions tell.
    pub(crate) disruption: bool,
}

/// Everything that a decision is made of.
pub(crate) struct Input<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) observed: &'a Observed,
    pub(crate) progress: &'a Progress,
    /// The status told last.
    pub(crate) last: &'a PodStatus,
    /// Set when the pod is no longer in the API.
    pub(crate) gone: bool,
    pub(crate) verdict: Option<&'a Verdict>,
    pub(crate) host_ips: &'a [String],
    /// Name of the engine, as container ids carry it.
    pub(crate) runtime: &'a str,
    pub(crate) now: Timestamp,
}

/// Why a container is stopped; decides event and grace period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KillReason {
    PodEnds,
    Probe(&'static str),
    Changed,
    /// Its new resources want a new start.
    Resized,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    SetUpVolumes,
    RunSandbox {
        attempt: u32,
    },
    StopSandbox {
        id: String,
    },
    Start {
        name: String,
        attempt: u32,
    },
    Kill {
        id: String,
        name: String,
        grace_seconds: i64,
        reason: KillReason,
    },
    Resize {
        id: String,
        name: String,
    },
    Remove {
        id: String,
    },
    /// Volumes, and with `all` also containers, sandboxes and folders.
    CleanUp {
        all: bool,
    },
    /// The last word to the API: delete without grace.
    Delete,
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
    pub(crate) status: PodStatus,
    /// Think again at this time even if nothing happens.
    pub(crate) wake_at: Option<Timestamp>,
    /// Crash back-off that the planned starts lead to, by container name.
    pub(crate) backoff: Vec<(String, CrashBackoff)>,
    /// Containers in crash back-off.
    pub(crate) crash_loop: HashSet<String>,
    /// Nothing is left to be done, now or later.
    pub(crate) over: bool,
}

/// Collects the parts of a plan.
#[derive(Default)]
struct Draft {
    actions: Vec<Action>,
    wake_at: Option<Timestamp>,
    backoff: Vec<(String, CrashBackoff)>,
    /// Containers in crash back-off and until when.
    crash_loop: HashMap<String, SignedDuration>,
    over: bool,
}

impl Draft {
    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// The decision.
pub(crate) fn plan(input: &Input<'_>) -> Plan {
    let mut draft = Draft::default();
    let end = ending::end(input);
    match &end {
        Some(end) => ending::plan(input, end, &mut draft),
        None => running::plan(input, &mut draft),
    }
    let status = status::status(input, end.as_ref(), &draft);
    Plan {
        actions: draft.actions,
        status,
        wake_at: draft.wake_at,
        backoff: draft.backoff,
        crash_loop: draft.crash_loop.into_keys().collect(),
        over: draft.over,
    }
}

impl Input<'_> {
    /// The sandbox that containers are to run in, if it is there.
    fn sandbox(&self) -> Option<&Sandbox> {
        self.observed.sandboxes.first().filter(|sandbox| sandbox.ready)
    }

    /// The newest attempt of a container.
    fn latest(&self, name: &str) -> Option<&Record> {
        self.observed.containers.iter().find(|record| record.name == name)
    }

    /// The newest attempt in the present sandbox.
    fn current(&self, name: &str) -> Option<&Record> {
        let sandbox = self.observed.sandboxes.first()?;
        self.latest(name).filter(|record| record.sandbox_id == sandbox.id)
    }

    fn probed(&self, record: &Record) -> Probed {
        self.progress.probed.get(&record.id).cloned().unwrap_or_default()
    }

    /// Attempt number for the next start of a container.
    fn next_attempt(&self, name: &str) -> u32 {
        match self.latest(name) {
            Some(record) => record.attempt.saturating_add(1),
            None => containers::told(self.last, name)
                .filter(|status| status.container_id.is_some())
                .map_or(0, |status| u32::try_from(status.restart_count).unwrap_or(0).saturating_add(1)),
        }
    }
}
