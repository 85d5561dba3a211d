//! Events for people: best effort, bounded, and never in the way of the work that they tell of.

mod correlate;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Resource};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::write;
use correlate::{Correlator, Verdict};

/// Events that wait to be sent.
const CAPACITY: usize = 1000;
/// One write takes at most this long.
const WRITE: Duration = Duration::from_secs(10);

/// Whether it is bad news.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Information.
    Normal,
    /// Something that may need attention.
    Warning,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Something that happened to an object.
#[derive(Debug, Clone)]
pub struct Occurrence {
    /// The object.
    pub object: ObjectReference,
    /// Whether it is bad news.
    pub event_type: EventType,
    /// One CamelCase word.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

/// A reference to an object for its events.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    let meta = object.meta();
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

/// Takes events from a component; clones share one queue.
#[derive(Clone)]
pub struct EventRecorder {
    queue: mpsc::Sender<Occurrence>,
}

impl EventRecorder {
    /// A recorder for a component (as `kubelet`) on a host (may be empty), and the task that sends: run it until
    /// shutdown.
    pub fn new(client: kube::Client, component: &str, host: &str) -> (Self, EventSink) {
        let (queue, events) = mpsc::channel(CAPACITY);
        let source =
            EventSource { component: Some(component.to_owned()), host: (!host.is_empty()).then(|| host.to_owned()) };
        (Self { queue }, EventSink { client, source, events, correlator: Correlator::default() })
    }

    /// A recorder whose events come out of a channel.
    pub fn to_channel(queue: mpsc::Sender<Occurrence>) -> Self {
        Self { queue }
    }

    /// Tells of something; never waits.
    pub fn event(&self, object: &ObjectReference, event_type: EventType, reason: &str, message: impl Into<String>) {
        let (reason, message) = (reason.to_owned(), message.into());
        let occurrence = Occurrence { object: object.clone(), event_type, reason, message, at: Timestamp::now() };
        if let Err(error) = self.queue.try_send(occurrence) {
            tracing::debug!(%error, "event dropped");
        }
    }

    /// [`Self::event`] of type Normal.
    pub fn normal(&self, object: &ObjectReference, reason: &str, message: impl Into<String>) {
        self.event(object, EventType::Normal, reason, message);
    }

    /// [`Self::event`] of type Warning.
    pub fn warning(&self, object: &ObjectReference, reason: &str, message: impl Into<String>) {
        self.event(object, EventType::Warning, reason, message);
    }
}

/// Sends what a recorder took.
pub struct EventSink {
    client: kube::Client,
    source: EventSource,
    events: mpsc::Receiver<Occurrence>,
    correlator: Correlator,
}

impl EventSink {
    /// Sends until `shutdown`, or until every recorder is gone.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let occurrence = tokio::select! {
                () = shutdown.cancelled() => return,
                occurrence = self.events.recv() => occurrence,
            };
            let Some(occurrence) = occurrence else { return };
            let name = occurrence.object.name.clone();
            match tokio::time::timeout(WRITE, self.send(occurrence)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, name, "event not written"),
                Err(_) => tracing::debug!(name, "event not written in time"),
            }
        }
    }

    async fn send(&mut self, occurrence: Occurrence) -> kube::Result<()> {
        let namespace = occurrence.object.namespace.as_deref().unwrap_or("default").to_owned();
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        match self.correlator.take(occurrence) {
            Verdict::Drop => Ok(()),
            Verdict::Create { slot, occurrence } => self.create(&api, slot, &occurrence, &namespace).await,
            Verdict::Count { slot, name, count, first, occurrence } => {
                let patch = serde_json::json!({
                    "count": count, "lastTimestamp": Time(occurrence.at), "message": occurrence.message,
                });
                let patched = api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await;
                match patched {
                    Ok(_) => Ok(()),
                    // It expired meanwhile.
                    Err(error) if write::is_not_found(&error) => {
                        let event = self.event(&occurrence, &namespace, first, count);
                        let created = api.create(&PostParams::default(), &event).await?;
                        self.correlator.created(&slot, created.metadata.name.unwrap_or_default());
                        Ok(())
                    }
                    Err(error) => Err(error),
                }
            }
        }
    }

    async fn create(
        &mut self,
        api: &Api<Event>,
        slot: correlate::Slot,
        occurrence: &Occurrence,
        namespace: &str,
    ) -> kube::Result<()> {
        let event = self.event(occurrence, namespace, occurrence.at, 1);
        let name = event.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &event).await?;
        self.correlator.created(&slot, name);
        Ok(())
    }

    fn event(&self, occurrence: &Occurrence, namespace: &str, first: Timestamp, count: i32) -> Event {
        let object = occurrence.object.name.as_deref().unwrap_or_default();
        let name = format!("{object}.{:x}", occurrence.at.as_nanosecond());
        Event {
            metadata: ObjectMeta { name: Some(name), namespace: Some(namespace.to_owned()), ..Default::default() },
            involved_object: occurrence.object.clone(),
            reason: Some(occurrence.reason.clone()),
            message: Some(occurrence.message.clone()),
            type_: Some(occurrence.event_type.as_str().to_owned()),
            source: Some(self.source.clone()),
            first_timestamp: Some(Time(first)),
            last_timestamp: Some(Time(occurrence.at)),
            count: Some(count),
            reporting_component: self.source.component.clone(),
            reporting_instance: self.source.host.clone(),
            ..Default::default()
        }
    }
}
