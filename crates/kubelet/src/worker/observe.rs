//! What the engine has of a pod.

use std::collections::HashMap;
use std::time::Duration;

use cri::v1::{Container, ContainerState, ContainerStatus, PodSandboxFilter, PodSandboxState, PodSandboxStatus};
use cri::{CriError, Engine};
use jiff::Timestamp;

use super::Worker;
use crate::container::labels;
use crate::podlife::{Observed, Record, Sandbox, State};
use crate::spec;

/// A look takes at most this long.
const LOOK: Duration = Duration::from_secs(30);

impl Worker {
    /// Looks at the engine; when it does not answer, what was seen last stays and the look is repeated.
    pub(super) async fn look(&mut self) {
        let uid = spec::uid(&self.pod).to_owned();
        let seen = tokio::time::timeout(LOOK, observe(&*self.context.engine, &uid)).await;
        match seen {
            Ok(Ok(observed)) => {
                self.observed = observed;
                self.hear_last_words().await;
            }
            Ok(Err(error)) => {
                tracing::warn!(pod = spec::display(&self.pod), %error, "engine does not tell the state of a pod");
                self.look_again();
            }
            Err(_) => {
                tracing::warn!(pod = spec::display(&self.pod), "engine does not tell the state of a pod in time");
                self.look_again();
            }
        }
    }

    fn look_again(&mut self) {
        let inbox = std::sync::Arc::clone(&self.inbox);
        self.work.spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            inbox.look();
            super::act::Finished::Nothing
        });
    }
}

async fn observe(engine: &dyn Engine, uid: &str) -> Result<Observed, CriError> {
    let selector = HashMap::from([(labels::POD_UID.to_owned(), uid.to_owned())]);
    let filter = PodSandboxFilter { label_selector: selector.clone(), ..Default::default() };
    let containers = cri::v1::ContainerFilter { label_selector: selector, ..Default::default() };
    let (sandboxes, containers) =
        tokio::try_join!(engine.list_pod_sandbox(Some(filter)), engine.list_containers(Some(containers)))?;
    let sandboxes = futures::future::try_join_all(sandboxes.iter().map(|one| sandbox(engine, &one.id)));
    let records = futures::future::try_join_all(containers.iter().map(|one| record(engine, one)));
    let (sandboxes, records) = tokio::try_join!(sandboxes, records)?;
    let mut sandboxes: Vec<(i64, Sandbox)> = sandboxes.into_iter().flatten().collect();
    sandboxes.sort_by_key(|(created, sandbox)| std::cmp::Reverse((sandbox.attempt, *created)));
    let mut containers: Vec<Record> = records.into_iter().flatten().collect();
    containers.sort_by_key(|record| std::cmp::Reverse((record.created_at, record.attempt)));
    Ok(Observed { sandboxes: sandboxes.into_iter().map(|(_, sandbox)| sandbox).collect(), containers })
}

/// None if it went away between list and question.
fn unless_gone<T>(answer: Result<T, CriError>) -> Result<Option<T>, CriError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(CriError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn sandbox(engine: &dyn Engine, id: &str) -> Result<Option<(i64, Sandbox)>, CriError> {
    let answer = unless_gone(engine.pod_sandbox_status(id).await)?;
    Ok(answer.and_then(|answer| answer.status).map(|status| (status.created_at, as_sandbox(status))))
}

fn as_sandbox(status: PodSandboxStatus) -> Sandbox {
    let network = status.network.unwrap_or_default();
    let more = network.additional_ips.into_iter().map(|ip| ip.ip);
    let ips = std::iter::once(network.ip).chain(more).filter(|ip| !ip.is_empty()).collect();
    Sandbox {
        id: status.id,
        attempt: status.metadata.unwrap_or_default().attempt,
        ready: status.state == PodSandboxState::SandboxReady as i32,
        ips,
    }
}

async fn record(engine: &dyn Engine, container: &Container) -> Result<Option<Record>, CriError> {
    let answer = unless_gone(engine.container_status(&container.id).await)?;
    Ok(answer.and_then(|answer| answer.status).map(|status| as_record(status, &container.pod_sandbox_id)))
}

fn as_record(status: ContainerStatus, sandbox_id: &str) -> Record {
    let metadata = status.metadata.unwrap_or_default();
    let label = |map: &HashMap<String, String>, key: &str| map.get(key).cloned();
    let attempt = label(&status.annotations, labels::RESTART_COUNT).and_then(|count| count.parse().ok());
    let state = match ContainerState::try_from(status.state) {
        Ok(ContainerState::ContainerCreated) => State::Created,
        Ok(ContainerState::ContainerRunning) => State::Running,
        Ok(ContainerState::ContainerExited) => State::Exited,
        _ => State::Unknown,
    };
    let image_id = if status.image_id.is_empty() { status.image_ref.clone() } else { status.image_ref };
    Record {
        id: status.id,
        name: label(&status.labels, labels::CONTAINER_NAME).unwrap_or(metadata.name),
        sandbox_id: sandbox_id.to_owned(),
        attempt: attempt.unwrap_or(metadata.attempt),
        state,
        hash: label(&status.annotations, labels::HASH).unwrap_or_default(),
        image: image_name(status.image.unwrap_or_default()),
        image_id,
        created_at: time(status.created_at),
        started_at: time(status.started_at),
        finished_at: time(status.finished_at),
        exit_code: status.exit_code,
        reason: status.reason,
        message: status.message,
    }
}

/// As the pod names it; an engine that was given an id tells the id otherwise.
fn image_name(spec: cri::v1::ImageSpec) -> String {
    if spec.user_specified_image.is_empty() { spec.image } else { spec.user_specified_image }
}

fn time(nanoseconds: i64) -> Option<Timestamp> {
    (nanoseconds != 0).then(|| Timestamp::from_nanosecond(i128::from(nanoseconds)).ok()).flatten()
}
