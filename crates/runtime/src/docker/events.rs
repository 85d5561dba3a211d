//! Docker's `/events`, as CRI's.

use std::collections::HashMap;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use cri::v1::{ContainerEventResponse, ContainerEventType, PodSandboxStatus};
use cri::{CriError, EventStream};
use futures::StreamExt;

use super::labels::{self, Labels};
use super::{Docker, refused};

impl Docker {
    pub(super) fn follow(&self) -> EventStream {
        let own = format!("{}={}", labels::INSTANCE, self.inner.config.instance);
        let filters = HashMap::from([
            ("type", vec!["container"]),
            ("label", vec![own.as_str()]),
            ("event", vec!["create", "start", "die", "destroy"]),
        ]);
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        let events = self.api().events(Some(options)).filter_map(async |event| match event {
            Ok(event) => read(event).map(Ok),
            Err(error) => Some(Err::<_, CriError>(refused(error))),
        });
        events.boxed().take_until(self.inner.cancel.clone().cancelled_owned()).boxed()
    }
}

fn read(event: EventMessage) -> Option<ContainerEventResponse> {
    let kind = match event.action.as_deref()? {
        "create" => ContainerEventType::ContainerCreatedEvent,
        "start" => ContainerEventType::ContainerStartedEvent,
        "die" => ContainerEventType::ContainerStoppedEvent,
        "destroy" => ContainerEventType::ContainerDeletedEvent,
        _ => return None,
    };
    let actor = event.actor?;
    let about: Labels = actor.attributes.unwrap_or_default();
    let sandbox = PodSandboxStatus { metadata: Some(labels::pod(&about)), ..PodSandboxStatus::default() };
    Some(ContainerEventResponse {
        container_id: actor.id.unwrap_or_default(),
        container_event_type: kind as i32,
        created_at: event.time_nano.unwrap_or(0),
        pod_sandbox_status: Some(sandbox),
        containers_statuses: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use bollard::models::EventActor;

    use super::*;

    #[test]
    fn an_end_names_its_pod() {
        let attributes = HashMap::from([("io.kubernetes.pod.uid".to_owned(), "u".to_owned())]);
        let actor = EventActor { id: Some("c".into()), attributes: Some(attributes) };
        let event = |action: &str| EventMessage {
            action: Some(action.into()),
            actor: Some(actor.clone()),
            ..Default::default()
        };
        let end = read(event("die")).unwrap();
        assert_eq!(end.container_event_type, ContainerEventType::ContainerStoppedEvent as i32);
        assert_eq!(end.pod_sandbox_status.unwrap().metadata.unwrap().uid, "u");
        assert_eq!(read(event("exec_die")), None);
    }
}
