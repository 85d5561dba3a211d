//! What happens to containers, as it happens: CRI's own events, or containerd's where an older one has no others.

use std::time::Duration;

use futures::StreamExt;

use super::{Remote, containerd};
use crate::v1::*;
use crate::{CriError, EventStream, RuntimeService};

/// The engine's own view follows containerd's event within this time.
const SETTLED: Duration = Duration::from_secs(5);

pub(super) async fn subscribe(remote: &Remote) -> Result<EventStream, CriError> {
    // Go's servers answer with the first event, however long that takes: what is not served is refused at once.
    let mut runtime = remote.runtime();
    let begun = tokio::select! {
        begun = runtime.get_container_events(GetEventsRequest {}) => begun,
        () = remote.closed.cancelled() => return Err(CriError::Unavailable("the engine was let go".to_owned())),
    };
    let stream = match begun.map_err(CriError::from) {
        Ok(stream) => stream.into_inner().map(|event| event.map_err(CriError::from)).boxed(),
        Err(CriError::Unimplemented(_)) => of_containerd(remote).await?,
        Err(error) => return Err(error),
    };
    Ok(stream.take_until(remote.closed.clone().cancelled_owned()).boxed())
}

async fn of_containerd(remote: &Remote) -> Result<EventStream, CriError> {
    let happened = containerd::subscribe(remote).await?;
    let remote = remote.clone();
    let told = happened.map(move |happened| {
        let remote = remote.clone();
        async move {
            let happened = happened?;
            Ok(tell(&remote, &happened.container, happened.kind).await)
        }
    });
    // Each is settled beside the others: one that takes time does not hold up the next.
    Ok(told.buffer_unordered(64).boxed())
}

/// An event with what the kubelet needs: which pod it is about.
async fn tell(remote: &Remote, id: &str, kind: ContainerEventType) -> ContainerEventResponse {
    let metadata = match tokio::time::timeout(SETTLED, settle(remote, id, kind)).await {
        Ok(Ok(metadata)) => metadata,
        Ok(Err(error)) => {
            tracing::debug!(id, %error, "what an event was about cannot be looked up");
            None
        }
        Err(_) => None,
    };
    ContainerEventResponse {
        container_id: id.to_owned(),
        container_event_type: kind as i32,
        pod_sandbox_status: Some(PodSandboxStatus { metadata, ..PodSandboxStatus::default() }),
        ..ContainerEventResponse::default()
    }
}

/// Waits until the engine's answers agree with an end that containerd has told already: it takes the event in itself.
async fn settle(remote: &Remote, id: &str, kind: ContainerEventType) -> Result<Option<PodSandboxMetadata>, CriError> {
    loop {
        let (running, metadata) = match remote.container_status(id).await {
            Ok(answer) => {
                let status = answer.status.unwrap_or_default();
                (status.state == ContainerState::ContainerRunning as i32, of_labels(&status.labels))
            }
            Err(CriError::NotFound(_)) => match remote.pod_sandbox_status(id).await {
                Ok(answer) => {
                    let status = answer.status.unwrap_or_default();
                    (status.state == PodSandboxState::SandboxReady as i32, status.metadata.unwrap_or_default())
                }
                Err(CriError::NotFound(_)) => return Ok(None),
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        };
        if !running || kind != ContainerEventType::ContainerStoppedEvent {
            return Ok(Some(metadata));
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

fn of_labels(labels: &std::collections::HashMap<String, String>) -> PodSandboxMetadata {
    let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
    PodSandboxMetadata {
        name: label("io.kubernetes.pod.name"),
        uid: label("io.kubernetes.pod.uid"),
        namespace: label("io.kubernetes.pod.namespace"),
        attempt: 0,
    }
}
