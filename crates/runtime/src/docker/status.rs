//! What Docker says of a container, as CRI says it. Pure.

use bollard::models::{ContainerInspectResponse, ContainerState as State, ContainerStateStatusEnum as Status};
use cri::v1;
use cri::v1::{ContainerState, PodSandboxState};
use jiff::Timestamp;

use super::create;
use super::labels::{Container, Sandbox};

/// Docker's time; what has not happened is in the year 1.
fn nanoseconds(time: Option<&String>) -> i64 {
    let time = time.and_then(|text| text.parse::<Timestamp>().ok()).filter(|time| time.as_second() > 0);
    time.and_then(|time| i64::try_from(time.as_nanosecond()).ok()).unwrap_or(0)
}

fn is_running(state: &State) -> bool {
    matches!(state.status, Some(Status::RUNNING | Status::PAUSED | Status::RESTARTING | Status::STOPPING))
}

/// The state in a list, where Docker has a word for it.
pub(super) fn listed_state(word: &str) -> ContainerState {
    match word {
        "created" => ContainerState::ContainerCreated,
        "running" | "paused" | "restarting" | "stopping" => ContainerState::ContainerRunning,
        _ => ContainerState::ContainerExited,
    }
}

pub(super) fn sandbox(sandbox: &Sandbox, found: &ContainerInspectResponse, ips: Vec<String>) -> v1::PodSandboxStatus {
    let running = found.state.as_ref().is_some_and(is_running);
    let state = if running { PodSandboxState::SandboxReady } else { PodSandboxState::SandboxNotready };
    let mut ips = ips.into_iter();
    v1::PodSandboxStatus {
        id: sandbox.id.clone(),
        metadata: sandbox.config.metadata.clone(),
        state: state as i32,
        created_at: nanoseconds(found.created.as_ref()),
        network: Some(v1::PodSandboxNetworkStatus {
            ip: ips.next().unwrap_or_default(),
            additional_ips: ips.map(|ip| v1::PodIp { ip }).collect(),
        }),
        linux: Some(v1::LinuxPodSandboxStatus {
            namespaces: Some(v1::Namespace { options: Some(create::options(&sandbox.config)) }),
        }),
        labels: sandbox.config.labels.clone(),
        annotations: sandbox.config.annotations.clone(),
        runtime_handler: String::new(),
    }
}

pub(super) fn container(container: &Container, found: &ContainerInspectResponse) -> v1::ContainerStatus {
    let (config, state) = (&container.config, found.state.clone().unwrap_or_default());
    let failed = state.error.clone().filter(|error| !error.is_empty());
    let begun = nanoseconds(state.started_at.as_ref());
    let phase = match state.status {
        // What could not be started stays "created", with a reason.
        Some(Status::CREATED) if failed.is_some() => ContainerState::ContainerExited,
        Some(Status::CREATED) => ContainerState::ContainerCreated,
        _ if is_running(&state) => ContainerState::ContainerRunning,
        _ => ContainerState::ContainerExited,
    };
    let image_id = found.image.clone().unwrap_or_else(|| container.image_id.clone());
    let mut status = v1::ContainerStatus {
        id: container.id.clone(),
        metadata: config.metadata.clone(),
        state: phase as i32,
        created_at: nanoseconds(found.created.as_ref()),
        started_at: begun,
        image: config.image.clone(),
        image_ref: image_id.clone(),
        image_id,
        labels: config.labels.clone(),
        annotations: config.annotations.clone(),
        mounts: config.mounts.clone(),
        log_path: container.log.clone(),
        resources: config
            .linux
            .as_ref()
            .map(|linux| v1::ContainerResources { linux: linux.resources.clone(), windows: None }),
        ..v1::ContainerStatus::default()
    };
    if phase != ContainerState::ContainerExited {
        return status;
    }
    status.exit_code = state.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(0);
    status.finished_at = nanoseconds(state.finished_at.as_ref());
    (status.reason, status.message) = match failed {
        Some(error) if begun == 0 => {
            status.finished_at = status.created_at;
            ("ContainerCannotRun".to_owned(), error)
        }
        _ if state.oom_killed == Some(true) => ("OOMKilled".to_owned(), String::new()),
        _ if status.exit_code == 0 => ("Completed".to_owned(), String::new()),
        _ => ("Error".to_owned(), String::new()),
    };
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: State) -> v1::ContainerStatus {
        let created = Some("2026-01-02T03:04:05.5Z".to_owned());
        let found = ContainerInspectResponse { state: Some(state), created, ..Default::default() };
        container(&Container::default(), &found)
    }

    fn state(status: Status) -> State {
        let never = Some("0001-01-01T00:00:00Z".to_owned());
        State { status: Some(status), started_at: never.clone(), finished_at: never, ..Default::default() }
    }

    #[test]
    fn a_container_is_created_runs_and_ends() {
        let created = status(state(Status::CREATED));
        assert_eq!((created.state, created.started_at), (ContainerState::ContainerCreated as i32, 0));
        assert_eq!(created.created_at, 1_767_323_045_500_000_000);
        assert_eq!(status(state(Status::RUNNING)).state, ContainerState::ContainerRunning as i32);
        let ended = status(State {
            exit_code: Some(3),
            started_at: Some("2026-01-02T03:04:05Z".into()),
            finished_at: Some("2026-01-02T03:04:06Z".into()),
            ..state(Status::EXITED)
        });
        assert_eq!((ended.exit_code, ended.reason.as_str()), (3, "Error"));
        assert_eq!(ended.finished_at - ended.started_at, 1_000_000_000);
    }

    #[test]
    fn what_cannot_be_started_says_why() {
        let error = Some("no such file".to_owned());
        let failed = status(State { error, exit_code: Some(127), ..state(Status::CREATED) });
        assert_eq!((failed.state, failed.exit_code), (ContainerState::ContainerExited as i32, 127));
        assert_eq!((failed.reason.as_str(), failed.message.as_str()), ("ContainerCannotRun", "no such file"));
        assert_eq!(
            status(State { oom_killed: Some(true), exit_code: Some(137), ..state(Status::EXITED) }).reason,
            "OOMKilled"
        );
    }
}
