//! Probes of running containers.

mod count;
mod handlers;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use parking_lot::Mutex;
use tokio_util::task::AbortOnDropHandle;

use crate::context::Context;
use crate::podlife::{Probed, Record};
use crate::record::ContainerEvents;
use crate::spec::{self, Entry};
use crate::worker::Inbox;
use count::{Count, Verdict};
pub(crate) use handlers::Prober;

/// The probes of one running container; they end with it.
pub(crate) struct ProbeSet {
    _task: Option<AbortOnDropHandle<()>>,
}

/// Everything that the task of a container's probes needs.
struct Watch {
    context: Arc<Context>,
    inbox: Arc<Inbox>,
    pod: Arc<Pod>,
    container: Container,
    id: String,
    ip: String,
    probed: Mutex<Probed>,
}

impl ProbeSet {
    /// `before` is what was known before the kubelet was restarted.
    pub(crate) fn start(
        context: &Arc<Context>,
        inbox: &Arc<Inbox>,
        pod: &Arc<Pod>,
        entry: &Entry<'_>,
        record: &Record,
        ip: Option<String>,
        before: Probed,
    ) -> Self {
        let container = entry.container.clone().into_owned();
        let probes = [&container.startup_probe, &container.readiness_probe, &container.liveness_probe];
        if probes.into_iter().all(Option::is_none) {
            return Self { _task: None };
        }
        let watch = Watch {
            context: Arc::clone(context),
            inbox: Arc::clone(inbox),
            pod: Arc::clone(pod),
            container,
            id: record.id.clone(),
            ip: ip.unwrap_or_default(),
            probed: Mutex::new(before),
        };
        Self { _task: Some(AbortOnDropHandle::new(tokio::spawn(watch.run()))) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Startup,
    Readiness,
    Liveness,
}

impl Kind {
    fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

impl Watch {
    async fn run(self) {
        if let Some(probe) = self.container.startup_probe.clone()
            && self.probed.lock().started != Some(true)
        {
            self.follow(Kind::Startup, &probe).await;
            if self.probed.lock().failed.is_some() {
                return;
            }
        }
        let (readiness, liveness) = (self.container.readiness_probe.clone(), self.container.liveness_probe.clone());
        let readiness = async {
            if let Some(probe) = &readiness {
                self.follow(Kind::Readiness, probe).await;
            }
        };
        let liveness = async {
            if let Some(probe) = &liveness {
                self.follow(Kind::Liveness, probe).await;
            }
        };
        tokio::join!(readiness, liveness);
    }

    /// Probes until there is nothing more to find out.
    async fn follow(&self, kind: Kind, probe: &Probe) {
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default))
        };
        tokio::time::sleep(seconds(probe.initial_delay_seconds, 0)).await;
        let period = seconds(probe.period_seconds, 10).max(Duration::from_secs(1));
        let mut count = Count::new(probe);
        // A server takes some milliseconds from its start to its first answer. A whole period for that would be long.
        let mut eager = (kind == Kind::Readiness && probe.exec.is_none() && self.probed.lock().ready.is_none())
            .then_some(Duration::from_millis(25));
        loop {
            let outcome = self.context.prober.probe(&self.container, probe, &self.id, &self.ip).await;
            if let Err(why) = &outcome
                && eager.is_none()
            {
                self.tell(kind, why);
            }
            match count.take(outcome.is_ok()) {
                Verdict::Undecided => {}
                Verdict::Good if kind == Kind::Startup => return self.set(|probed| probed.started = Some(true)),
                Verdict::Good => {
                    eager = None;
                    self.set(|probed| {
                        if kind == Kind::Readiness {
                            probed.ready = Some(true);
                        }
                    });
                }
                Verdict::Bad if kind == Kind::Readiness => self.set(|probed| probed.ready = Some(false)),
                Verdict::Bad => {
                    let name = if kind == Kind::Startup { "startup" } else { "liveness" };
                    return self.set(|probed| probed.failed = Some(name));
                }
            }
            let pause = match eager {
                Some(pause) if pause < period.min(Duration::from_secs(1)) => {
                    eager = Some(pause * 2);
                    pause
                }
                _ => {
                    eager = None;
                    period
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    fn set(&self, change: impl FnOnce(&mut Probed)) {
        let mut probed = self.probed.lock();
        let before = probed.clone();
        change(&mut probed);
        if *probed != before {
            self.inbox.probed(&self.id, probed.clone());
        }
    }

    fn tell(&self, kind: Kind, why: &str) {
        let Some(entry) = spec::find(&self.pod, &self.container.name) else { return };
        let events = ContainerEvents::new(&self.context.recorder, &self.pod, &entry);
        events.warning("Unhealthy", format!("{} probe failed: {why}", kind.title()));
    }
}
