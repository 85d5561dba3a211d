//! The engine as CRI's services: requests in, statuses out.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use cri::v1::*;
use cri::{CriError, EventStream, ImageService, RuntimeService};
use futures::StreamExt;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use super::images::{pull, store::Record};
use super::sandbox::limits;
use super::state::{Container as Held, Phase, Sandbox};
use super::{Native, internal};
use crate::shared::{fits, matches, now};

fn sandbox_state(sandbox: &Sandbox) -> i32 {
    let state = if sandbox.is_ready() { PodSandboxState::SandboxReady } else { PodSandboxState::SandboxNotready };
    state as i32
}

fn container_state(container: &Held) -> ContainerState {
    match container.phase() {
        Phase::Created if container.record.lock().failure.is_some() => ContainerState::ContainerExited,
        Phase::Created => ContainerState::ContainerCreated,
        Phase::Running { .. } => ContainerState::ContainerRunning,
        Phase::Exited(_) => ContainerState::ContainerExited,
    }
}

fn sandbox_status(sandbox: &Sandbox) -> PodSandboxStatus {
    let record = sandbox.record.lock().clone();
    let mut addresses = record.addresses.iter().map(ToString::to_string);
    PodSandboxStatus {
        id: sandbox.id.clone(),
        metadata: sandbox.config.metadata.clone(),
        state: sandbox_state(sandbox),
        created_at: record.created_at,
        network: Some(PodSandboxNetworkStatus {
            ip: addresses.next().unwrap_or_default(),
            additional_ips: addresses.map(|ip| PodIp { ip }).collect(),
        }),
        linux: Some(LinuxPodSandboxStatus { namespaces: Some(Namespace { options: Some(sandbox.options()) }) }),
        labels: sandbox.config.labels.clone(),
        annotations: sandbox.config.annotations.clone(),
        runtime_handler: record.runtime_handler,
    }
}

fn container_status(sandbox: &Sandbox, container: &Held) -> ContainerStatus {
    let record = container.record.lock().clone();
    let identity = container.identity();
    let mut status = ContainerStatus {
        id: container.id.clone(),
        metadata: container.config.metadata.clone(),
        state: container_state(container) as i32,
        created_at: record.created_at,
        started_at: record.started_at,
        image: container.config.image.clone(),
        image_ref: record.image_id.clone(),
        image_id: record.image_id,
        labels: container.config.labels.clone(),
        annotations: container.config.annotations.clone(),
        mounts: container.config.mounts.clone(),
        log_path: container.log_path(sandbox).unwrap_or_default(),
        resources: container
            .config
            .linux
            .as_ref()
            .map(|linux| ContainerResources { linux: linux.resources.clone(), windows: None }),
        user: Some(ContainerUser {
            linux: Some(LinuxContainerUser {
                uid: identity.uid.into(),
                gid: identity.gid.into(),
                supplemental_groups: Vec::new(),
            }),
        }),
        ..ContainerStatus::default()
    };
    if let Phase::Exited(exit) = container.phase() {
        status.finished_at = exit.at;
        status.exit_code = exit.code;
        let reason = if exit.oom {
            "OOMKilled"
        } else if exit.code == 0 {
            "Completed"
        } else {
            "Error"
        };
        status.reason = reason.to_owned();
    } else if let Some(failure) = record.failure {
        status.finished_at = record.created_at;
        status.exit_code = 128;
        (status.reason, status.message) = ("StartError".to_owned(), failure);
    }
    status
}

fn listed(container: &Held) -> Container {
    let record = container.record.lock().clone();
    Container {
        id: container.id.clone(),
        pod_sandbox_id: container.sandbox.clone(),
        metadata: container.config.metadata.clone(),
        image: container.config.image.clone(),
        image_ref: record.image_id.clone(),
        image_id: record.image_id,
        state: container_state(container) as i32,
        created_at: record.created_at,
        labels: container.config.labels.clone(),
        annotations: container.config.annotations.clone(),
    }
}

impl Native {
    fn all_containers(&self) -> Vec<Arc<Held>> {
        self.inner.sandboxes.read().values().flat_map(|sandbox| sandbox.containers()).collect()
    }

    fn all_sandboxes(&self) -> Vec<Arc<Sandbox>> {
        self.inner.sandboxes.read().values().cloned().collect()
    }

    fn event(&self, container: &Held, kind: ContainerEventType) -> ContainerEventResponse {
        let sandbox = self.sandbox(&container.sandbox).ok();
        let statuses = sandbox
            .iter()
            .flat_map(|s| s.containers().into_iter().map(|c| container_status(s, &c)).collect::<Vec<_>>());
        ContainerEventResponse {
            container_id: container.id.clone(),
            container_event_type: kind as i32,
            created_at: now(),
            pod_sandbox_status: sandbox.as_deref().map(sandbox_status),
            containers_statuses: statuses.collect(),
        }
    }
}

#[async_trait]
impl RuntimeService for Native {
    async fn version(&self) -> Result<VersionResponse, CriError> {
        Ok(VersionResponse {
            version: "0.1.0".to_owned(),
            runtime_name: "oxikube".to_owned(),
            runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
            runtime_api_version: "v1".to_owned(),
        })
    }

    async fn status(&self, _request: StatusRequest) -> Result<StatusResponse, CriError> {
        let condition = |kind: &str, trouble: Option<String>, reason: &str| RuntimeCondition {
            r#type: kind.to_owned(),
            status: trouble.is_none(),
            reason: if trouble.is_some() { reason.to_owned() } else { String::new() },
            message: trouble.unwrap_or_default(),
        };
        let network = self.inner.config.network.ready().await.err().map(|e| e.to_string());
        let conditions =
            vec![condition("RuntimeReady", None, ""), condition("NetworkReady", network, "NetworkPluginNotReady")];
        let handler = RuntimeHandler { name: String::new(), features: Some(RuntimeHandlerFeatures::default()) };
        Ok(StatusResponse {
            status: Some(RuntimeStatus { conditions }),
            info: HashMap::new(),
            runtime_handlers: vec![handler],
            features: Some(RuntimeFeatures { supplemental_groups_policy: true }),
        })
    }

    async fn run_pod_sandbox(&self, request: RunPodSandboxRequest) -> Result<RunPodSandboxResponse, CriError> {
        Ok(RunPodSandboxResponse { pod_sandbox_id: self.run_sandbox(request).await? })
    }

    async fn stop_pod_sandbox(&self, sandbox_id: &str) -> Result<(), CriError> {
        self.stop_sandbox(sandbox_id).await
    }

    async fn remove_pod_sandbox(&self, sandbox_id: &str) -> Result<(), CriError> {
        self.remove_sandbox(sandbox_id).await
    }

    async fn pod_sandbox_status(&self, sandbox_id: &str) -> Result<PodSandboxStatusResponse, CriError> {
        let sandbox = self.sandbox(sandbox_id)?;
        let statuses = sandbox.containers().iter().map(|container| container_status(&sandbox, container)).collect();
        Ok(PodSandboxStatusResponse {
            status: Some(sandbox_status(&sandbox)),
            info: HashMap::new(),
            containers_statuses: statuses,
            timestamp: now(),
        })
    }

    async fn list_pod_sandbox(&self, filter: Option<PodSandboxFilter>) -> Result<Vec<PodSandbox>, CriError> {
        let filter = filter.unwrap_or_default();
        let wanted = |sandbox: &Arc<Sandbox>| {
            fits(&filter.id, &sandbox.id)
                && filter.state.as_ref().is_none_or(|state| state.state == sandbox_state(sandbox))
                && matches(&filter.label_selector, &sandbox.config.labels)
        };
        let listed = |sandbox: Arc<Sandbox>| {
            let status = sandbox_status(&sandbox);
            PodSandbox {
                id: status.id,
                metadata: status.metadata,
                state: status.state,
                created_at: status.created_at,
                labels: status.labels,
                annotations: status.annotations,
                runtime_handler: status.runtime_handler,
            }
        };
        Ok(self.all_sandboxes().into_iter().filter(wanted).map(listed).collect())
    }

    async fn create_container(&self, request: CreateContainerRequest) -> Result<String, CriError> {
        self.create(request).await
    }

    async fn start_container(&self, container_id: &str) -> Result<(), CriError> {
        self.start(container_id).await
    }

    async fn stop_container(&self, container_id: &str, timeout_seconds: i64) -> Result<(), CriError> {
        match self.container(container_id) {
            Ok((_, container)) => self.stop(&container, timeout_seconds).await,
            Err(_) => Ok(()),
        }
    }

    async fn remove_container(&self, container_id: &str) -> Result<(), CriError> {
        self.remove(container_id).await
    }

    async fn list_containers(&self, filter: Option<ContainerFilter>) -> Result<Vec<Container>, CriError> {
        let filter = filter.unwrap_or_default();
        let wanted = |container: &Arc<Held>| {
            fits(&filter.id, &container.id)
                && fits(&filter.pod_sandbox_id, &container.sandbox)
                && filter.state.as_ref().is_none_or(|state| state.state == container_state(container) as i32)
                && matches(&filter.label_selector, &container.config.labels)
        };
        Ok(self.all_containers().into_iter().filter(wanted).map(|container| listed(&container)).collect())
    }

    async fn container_status(&self, container_id: &str) -> Result<ContainerStatusResponse, CriError> {
        let (sandbox, container) = self.container(container_id)?;
        Ok(ContainerStatusResponse { status: Some(container_status(&sandbox, &container)), info: HashMap::new() })
    }

    async fn update_container_resources(&self, request: UpdateContainerResourcesRequest) -> Result<(), CriError> {
        let (_, container) = self.container(&request.container_id)?;
        let resources = request.linux.unwrap_or_default();
        self.inner.cgroups.limit(&container.cgroup, &limits(&resources)).map_err(internal)
    }

    async fn update_pod_sandbox_resources(
        &self,
        sandbox_id: &str,
        resources: LinuxContainerResources,
    ) -> Result<(), CriError> {
        let cgroup = self.sandbox(sandbox_id)?.record.lock().cgroup.clone();
        self.inner.cgroups.limit(&cgroup, &limits(&resources)).map_err(internal)
    }

    async fn reopen_container_log(&self, container_id: &str) -> Result<(), CriError> {
        let (sandbox, _) = self.container(container_id)?;
        let request = crate::shim::protocol::Request::ReopenLog { id: container_id.to_owned() };
        sandbox.shim.call(request).await.map(drop).map_err(internal)
    }

    async fn exec_sync(
        &self,
        container_id: &str,
        command: Vec<String>,
        timeout: i64,
    ) -> Result<ExecSyncResponse, CriError> {
        self.run_sync(container_id, command, timeout).await
    }

    async fn container_stats(&self, container_id: &str) -> Result<ContainerStats, CriError> {
        let (_, container) = self.container(container_id)?;
        let missing = || CriError::NotFound(format!("container {container_id:?} has no control group"));
        self.stats_of(&container).ok_or_else(missing)
    }

    async fn list_container_stats(
        &self,
        filter: Option<ContainerStatsFilter>,
    ) -> Result<Vec<ContainerStats>, CriError> {
        let filter = filter.unwrap_or_default();
        let wanted = |container: &Arc<Held>| {
            fits(&filter.id, &container.id)
                && fits(&filter.pod_sandbox_id, &container.sandbox)
                && matches(&filter.label_selector, &container.config.labels)
        };
        Ok(self.all_containers().into_iter().filter(wanted).filter_map(|container| self.stats_of(&container)).collect())
    }

    async fn pod_sandbox_stats(&self, sandbox_id: &str) -> Result<PodSandboxStats, CriError> {
        Ok(self.sandbox_stats_of(&*self.sandbox(sandbox_id)?))
    }

    async fn list_pod_sandbox_stats(
        &self,
        filter: Option<PodSandboxStatsFilter>,
    ) -> Result<Vec<PodSandboxStats>, CriError> {
        let filter = filter.unwrap_or_default();
        let wanted = |sandbox: &Arc<Sandbox>| {
            fits(&filter.id, &sandbox.id) && matches(&filter.label_selector, &sandbox.config.labels)
        };
        Ok(self.all_sandboxes().into_iter().filter(wanted).map(|sandbox| self.sandbox_stats_of(&sandbox)).collect())
    }

    async fn update_runtime_config(&self, config: RuntimeConfig) -> Result<(), CriError> {
        let Some(network) = config.network_config.filter(|network| !network.pod_cidr.is_empty()) else { return Ok(()) };
        let told = self.inner.config.network.set_pod_cidr(&network.pod_cidr).await;
        told.map_err(|e| CriError::Internal(e.to_string()))
    }

    async fn runtime_config(&self) -> Result<RuntimeConfigResponse, CriError> {
        let linux = LinuxRuntimeConfiguration { cgroup_driver: CgroupDriver::Cgroupfs as i32 };
        Ok(RuntimeConfigResponse { linux: Some(linux) })
    }

    async fn container_events(&self) -> Result<EventStream, CriError> {
        let engine = self.clone();
        let events = BroadcastStream::new(self.inner.events.subscribe()).map(move |event| match event {
            Ok((container, kind)) => Ok(engine.event(&container, kind)),
            Err(BroadcastStreamRecvError::Lagged(missed)) => {
                Err(CriError::Unavailable(format!("{missed} events were missed: list anew")))
            }
        });
        Ok(Box::pin(events))
    }
}

fn image(record: &Record) -> Image {
    let name = record.config.user.split(':').next().unwrap_or_default();
    let uid = if name.is_empty() { Some(0) } else { name.parse().ok() };
    Image {
        id: record.id.clone(),
        repo_tags: record.tags.iter().cloned().collect(),
        repo_digests: record.digests.iter().cloned().collect(),
        size: record.size,
        uid: uid.map(|value| Int64Value { value }),
        username: if uid.is_some() { String::new() } else { name.to_owned() },
        spec: None,
        // What cannot be pulled again is not removed to make room.
        pinned: record.imported && !record.tags.is_empty(),
    }
}

#[async_trait]
impl ImageService for Native {
    async fn list_images(&self, filter: Option<ImageFilter>) -> Result<Vec<Image>, CriError> {
        let wanted = filter.and_then(|filter| filter.image).map(|image| image.image).unwrap_or_default();
        if wanted.is_empty() {
            return Ok(self.inner.images.list().iter().map(image).collect());
        }
        Ok(self.inner.images.find(&wanted).iter().map(image).collect())
    }

    async fn image_status(&self, spec: ImageSpec) -> Result<Option<Image>, CriError> {
        Ok(self.inner.images.find(&spec.image).as_ref().map(image))
    }

    async fn pull_image(&self, request: PullImageRequest) -> Result<String, CriError> {
        let name = request.image.map(|image| image.image).unwrap_or_default();
        let pulled = pull::pull(&self.inner.images, &self.inner.config.registries, &name, request.auth).await;
        pulled.map_err(|e| pull::refusal(&name, e))
    }

    async fn remove_image(&self, spec: ImageSpec) -> Result<(), CriError> {
        let used: BTreeSet<String> =
            self.all_containers().iter().flat_map(|c| c.record.lock().layers.clone()).collect();
        let engine = self.clone();
        let work = move || engine.inner.images.remove(&spec.image, &used);
        tokio::task::spawn_blocking(work).await.map_err(internal)?.map_err(internal)
    }

    async fn image_fs_info(&self) -> Result<ImageFsInfoResponse, CriError> {
        let directory = self.inner.images.directory().display().to_string();
        let usage = |mountpoint: String, bytes: u64| FilesystemUsage {
            timestamp: now(),
            fs_id: Some(FilesystemIdentifier { mountpoint }),
            used_bytes: Some(UInt64Value { value: bytes }),
            inodes_used: None,
        };
        let pods = self.inner.config.dir.join("pods").display().to_string();
        Ok(ImageFsInfoResponse {
            image_filesystems: vec![usage(directory, self.inner.images.used_bytes())],
            container_filesystems: vec![usage(pods, 0)],
        })
    }
}
