//! A container engine in memory. Its containers do what the test says.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cri::v1::*;
use cri::{CriError, Duplex, EventStream, ImageService, RuntimeService, Session, StdioRequest, Streaming};
use futures::StreamExt;
use tokio::sync::broadcast;

#[derive(Clone)]
pub struct Made {
    pub config: ContainerConfig,
    pub sandbox_id: String,
    pub status: ContainerStatus,
    log: PathBuf,
}

#[derive(Default)]
struct State {
    sandboxes: BTreeMap<String, (PodSandboxConfig, PodSandboxStatus)>,
    containers: BTreeMap<String, Made>,
    images: BTreeMap<String, u64>,
    next: u64,
    pulled: Vec<String>,
    pod_cidr: Option<String>,
}

pub struct FakeEngine {
    state: Mutex<State>,
    events: broadcast::Sender<ContainerEventResponse>,
}

fn now() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap()
}

fn missing(what: &str) -> CriError {
    CriError::NotFound(format!("{what} not found"))
}

impl FakeEngine {
    pub fn new() -> Arc<Self> {
        let mut state = State::default();
        state.images.insert("web".into(), 1000);
        Arc::new(Self { state: Mutex::new(state), events: broadcast::Sender::new(1024) })
    }

    /// The newest attempt of a container.
    pub fn container(&self, name: &str) -> Option<Made> {
        let state = self.state.lock().unwrap();
        let named = state.containers.values().filter(|made| made.status.metadata.as_ref().unwrap().name == name);
        named.max_by_key(|made| made.status.created_at).cloned()
    }

    pub fn count(&self) -> (usize, usize) {
        let state = self.state.lock().unwrap();
        (state.sandboxes.len(), state.containers.len())
    }

    pub fn pulled(&self) -> Vec<String> {
        self.state.lock().unwrap().pulled.clone()
    }

    pub fn pod_cidr(&self) -> Option<String> {
        self.state.lock().unwrap().pod_cidr.clone()
    }

    /// The process of a container ends by itself.
    pub fn exit(&self, name: &str, code: i32) {
        let id = self.container(name).unwrap().status.id;
        self.end(&id, code);
    }

    pub fn log(&self, name: &str, text: &str) {
        let path = self.container(name).unwrap().log;
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{} stdout F {text}", jiff::Timestamp::now()).unwrap();
    }

    fn end(&self, id: &str, code: i32) {
        let mut state = self.state.lock().unwrap();
        let Some(made) = state.containers.get_mut(id) else { return };
        if made.status.state == ContainerState::ContainerExited as i32 {
            return;
        }
        made.status.state = ContainerState::ContainerExited as i32;
        made.status.exit_code = code;
        made.status.finished_at = now();
        let sandbox = state.containers[id].sandbox_id.clone();
        self.tell(&state, id, &sandbox, ContainerEventType::ContainerStoppedEvent);
    }

    fn tell(&self, state: &State, id: &str, sandbox: &str, kind: ContainerEventType) {
        let event = ContainerEventResponse {
            container_id: id.into(),
            container_event_type: kind as i32,
            pod_sandbox_status: state.sandboxes.get(sandbox).map(|(_, status)| status.clone()),
            ..Default::default()
        };
        if self.events.send(event).is_err() {
            // Nobody listens.
        }
    }
}

fn selected(
    labels: &std::collections::HashMap<String, String>,
    selector: &std::collections::HashMap<String, String>,
) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[async_trait]
impl RuntimeService for FakeEngine {
    async fn version(&self) -> Result<VersionResponse, CriError> {
        Ok(VersionResponse { runtime_name: "fake".into(), runtime_version: "1".into(), ..Default::default() })
    }

    async fn status(&self, _: StatusRequest) -> Result<StatusResponse, CriError> {
        let condition = |kind: &str| RuntimeCondition { r#type: kind.into(), status: true, ..Default::default() };
        let status = RuntimeStatus { conditions: vec![condition("RuntimeReady"), condition("NetworkReady")] };
        Ok(StatusResponse { status: Some(status), ..Default::default() })
    }

    async fn run_pod_sandbox(&self, request: RunPodSandboxRequest) -> Result<RunPodSandboxResponse, CriError> {
        let config = request.config.unwrap();
        let mut state = self.state.lock().unwrap();
        state.next += 1;
        let id = format!("sandbox{}", state.next);
        let status = PodSandboxStatus {
            id: id.clone(),
            metadata: config.metadata.clone(),
            created_at: now(),
            network: Some(PodSandboxNetworkStatus { ip: "127.0.0.1".into(), ..Default::default() }),
            labels: config.labels.clone(),
            ..Default::default()
        };
        state.sandboxes.insert(id.clone(), (config, status));
        Ok(RunPodSandboxResponse { pod_sandbox_id: id })
    }

    async fn stop_pod_sandbox(&self, id: &str) -> Result<(), CriError> {
        if let Some((_, status)) = self.state.lock().unwrap().sandboxes.get_mut(id) {
            status.state = PodSandboxState::SandboxNotready as i32;
        }
        Ok(())
    }

    async fn remove_pod_sandbox(&self, id: &str) -> Result<(), CriError> {
        let mut state = self.state.lock().unwrap();
        state.sandboxes.remove(id);
        state.containers.retain(|_, made| made.sandbox_id != id);
        Ok(())
    }

    async fn pod_sandbox_status(&self, id: &str) -> Result<PodSandboxStatusResponse, CriError> {
        let state = self.state.lock().unwrap();
        let (_, status) = state.sandboxes.get(id).ok_or_else(|| missing(id))?;
        Ok(PodSandboxStatusResponse { status: Some(status.clone()), ..Default::default() })
    }

    async fn list_pod_sandbox(&self, filter: Option<PodSandboxFilter>) -> Result<Vec<PodSandbox>, CriError> {
        let selector = filter.unwrap_or_default().label_selector;
        let state = self.state.lock().unwrap();
        let all = state.sandboxes.values().filter(|(config, _)| selected(&config.labels, &selector));
        let listed = all.map(|(config, status)| PodSandbox {
            id: status.id.clone(),
            metadata: config.metadata.clone(),
            state: status.state,
            created_at: status.created_at,
            labels: config.labels.clone(),
            ..Default::default()
        });
        Ok(listed.collect())
    }

    async fn create_container(&self, request: CreateContainerRequest) -> Result<String, CriError> {
        let config = request.config.unwrap();
        let mut state = self.state.lock().unwrap();
        state.next += 1;
        let id = format!("container{}", state.next);
        let status = ContainerStatus {
            id: id.clone(),
            metadata: config.metadata.clone(),
            created_at: now(),
            image: config.image.clone(),
            image_ref: "fake@sha256:1".into(),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            ..Default::default()
        };
        let folder = PathBuf::from(&state.sandboxes[&request.pod_sandbox_id].0.log_directory);
        let log = folder.join(&config.log_path);
        let status = ContainerStatus { log_path: log.to_string_lossy().into_owned(), ..status };
        std::fs::create_dir_all(log.parent().unwrap()).unwrap();
        std::fs::write(&log, "").unwrap();
        state.containers.insert(id.clone(), Made { config, sandbox_id: request.pod_sandbox_id, status, log });
        Ok(id)
    }

    async fn start_container(&self, id: &str) -> Result<(), CriError> {
        let mut state = self.state.lock().unwrap();
        let made = state.containers.get_mut(id).ok_or_else(|| missing(id))?;
        made.status.state = ContainerState::ContainerRunning as i32;
        made.status.started_at = now();
        let sandbox = made.sandbox_id.clone();
        self.tell(&state, id, &sandbox, ContainerEventType::ContainerStartedEvent);
        Ok(())
    }

    async fn stop_container(&self, id: &str, _: i64) -> Result<(), CriError> {
        self.end(id, 0);
        Ok(())
    }

    async fn remove_container(&self, id: &str) -> Result<(), CriError> {
        self.state.lock().unwrap().containers.remove(id);
        Ok(())
    }

    async fn list_containers(&self, filter: Option<ContainerFilter>) -> Result<Vec<Container>, CriError> {
        let filter = filter.unwrap_or_default();
        let state = self.state.lock().unwrap();
        let all = state.containers.values().filter(|made| {
            selected(&made.config.labels, &filter.label_selector)
                && (filter.pod_sandbox_id.is_empty() || made.sandbox_id == filter.pod_sandbox_id)
        });
        let listed = all.map(|made| Container {
            id: made.status.id.clone(),
            pod_sandbox_id: made.sandbox_id.clone(),
            state: made.status.state,
            created_at: made.status.created_at,
            labels: made.config.labels.clone(),
            ..Default::default()
        });
        Ok(listed.collect())
    }

    async fn container_status(&self, id: &str) -> Result<ContainerStatusResponse, CriError> {
        let state = self.state.lock().unwrap();
        let made = state.containers.get(id).ok_or_else(|| missing(id))?;
        Ok(ContainerStatusResponse { status: Some(made.status.clone()), ..Default::default() })
    }

    async fn update_container_resources(&self, _: UpdateContainerResourcesRequest) -> Result<(), CriError> {
        Ok(())
    }

    async fn reopen_container_log(&self, _: &str) -> Result<(), CriError> {
        Ok(())
    }

    async fn exec_sync(&self, _: &str, command: Vec<String>, _: i64) -> Result<ExecSyncResponse, CriError> {
        let exit_code = command.last().and_then(|word| word.parse().ok()).unwrap_or(0);
        Ok(ExecSyncResponse { stdout: b"out".to_vec(), stderr: Vec::new(), exit_code })
    }

    async fn container_stats(&self, _: &str) -> Result<ContainerStats, CriError> {
        Ok(ContainerStats::default())
    }

    async fn list_container_stats(&self, _: Option<ContainerStatsFilter>) -> Result<Vec<ContainerStats>, CriError> {
        Ok(Vec::new())
    }

    async fn pod_sandbox_stats(&self, _: &str) -> Result<PodSandboxStats, CriError> {
        Ok(PodSandboxStats::default())
    }

    async fn list_pod_sandbox_stats(&self, _: Option<PodSandboxStatsFilter>) -> Result<Vec<PodSandboxStats>, CriError> {
        Ok(Vec::new())
    }

    async fn update_runtime_config(&self, config: RuntimeConfig) -> Result<(), CriError> {
        self.state.lock().unwrap().pod_cidr = config.network_config.map(|network| network.pod_cidr);
        Ok(())
    }

    async fn runtime_config(&self) -> Result<RuntimeConfigResponse, CriError> {
        Ok(RuntimeConfigResponse::default())
    }

    async fn container_events(&self) -> Result<EventStream, CriError> {
        let events = tokio_stream::wrappers::BroadcastStream::new(self.events.subscribe());
        Ok(events.map(|event| event.map_err(|error| CriError::Internal(error.to_string()))).boxed())
    }
}

#[async_trait]
impl ImageService for FakeEngine {
    async fn list_images(&self, _: Option<ImageFilter>) -> Result<Vec<Image>, CriError> {
        Ok(Vec::new())
    }

    async fn image_status(&self, image: ImageSpec) -> Result<Option<Image>, CriError> {
        let state = self.state.lock().unwrap();
        Ok(state.images.get(&image.image).map(|size| Image {
            id: "sha256:1".into(),
            size: *size,
            ..Default::default()
        }))
    }

    async fn pull_image(&self, request: PullImageRequest) -> Result<String, CriError> {
        let name = request.image.unwrap().image;
        let mut state = self.state.lock().unwrap();
        if name.starts_with("bad") {
            return Err(CriError::NotFound("manifest unknown".into()));
        }
        state.pulled.push(name.clone());
        state.images.insert(name, 1000);
        Ok("sha256:1".into())
    }

    async fn remove_image(&self, _: ImageSpec) -> Result<(), CriError> {
        Ok(())
    }

    async fn image_fs_info(&self) -> Result<ImageFsInfoResponse, CriError> {
        Ok(ImageFsInfoResponse::default())
    }
}

#[async_trait]
impl Streaming for FakeEngine {
    async fn exec(&self, _: &str, command: Vec<String>, stdio: StdioRequest) -> Result<Session, CriError> {
        if command.first().map(String::as_str) == Some("missing") {
            return Err(CriError::Internal("executable file not found".into()));
        }
        // Like `cat`: what comes in goes out, until the end of it.
        let (input, theirs) = tokio::io::duplex(1024);
        let code = command.last().and_then(|word| word.parse().ok()).unwrap_or(0);
        let stdout: Box<dyn tokio::io::AsyncRead + Send + Unpin> = match stdio.stdin {
            true => Box::new(theirs),
            false => Box::new(std::io::Cursor::new(b"out".to_vec())),
        };
        Ok(Session {
            stdin: stdio.stdin.then(|| Box::new(input) as _),
            stdout: Some(stdout),
            stderr: None,
            resize: None,
            exit: Box::pin(async move { Ok(code) }),
        })
    }

    async fn attach(&self, id: &str, stdio: StdioRequest) -> Result<Session, CriError> {
        self.exec(id, Vec::new(), stdio).await
    }

    async fn port_forward(&self, _: &str, port: u16) -> Result<Box<dyn Duplex>, CriError> {
        if port == 1 {
            return Err(CriError::Internal("connection refused".into()));
        }
        let (ours, mut theirs) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let (mut from, mut to) = tokio::io::split(&mut theirs);
            tokio::io::copy(&mut from, &mut to).await
        });
        Ok(Box::new(ours))
    }
}
