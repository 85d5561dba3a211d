//! The two services of CRI, method by method. A method's meaning is CRI's own.

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::CriError;
use crate::v1::*;

/// Container events as they happen; ends when the engine goes away.
pub type EventStream = BoxStream<'static, Result<ContainerEventResponse, CriError>>;

/// Sandboxes and containers (`runtime.v1.RuntimeService`, without the streaming URLs: see [`crate::Streaming`]).
#[async_trait]
pub trait RuntimeService: Send + Sync {
    /// Name and version of the engine.
    async fn version(&self) -> Result<VersionResponse, CriError>;
    /// Conditions `RuntimeReady` and `NetworkReady`.
    async fn status(&self, request: StatusRequest) -> Result<StatusResponse, CriError>;
    /// Makes and starts a sandbox: namespaces, network, cgroup.
    async fn run_pod_sandbox(&self, request: RunPodSandboxRequest) -> Result<RunPodSandboxResponse, CriError>;
    /// Stops every process of the sandbox and detaches its network. Idempotent.
    async fn stop_pod_sandbox(&self, sandbox_id: &str) -> Result<(), CriError>;
    /// Removes the sandbox and its containers. Idempotent.
    async fn remove_pod_sandbox(&self, sandbox_id: &str) -> Result<(), CriError>;
    /// State of one sandbox.
    async fn pod_sandbox_status(&self, sandbox_id: &str) -> Result<PodSandboxStatusResponse, CriError>;
    /// Sandboxes that match the filter.
    async fn list_pod_sandbox(&self, filter: Option<PodSandboxFilter>) -> Result<Vec<PodSandbox>, CriError>;
    /// Makes a container in a sandbox; returns its id.
    async fn create_container(&self, request: CreateContainerRequest) -> Result<String, CriError>;
    /// Starts a created container.
    async fn start_container(&self, container_id: &str) -> Result<(), CriError>;
    /// Sends the stop signal, after `timeout_seconds` SIGKILL. Returns when the container has ended. Idempotent.
    async fn stop_container(&self, container_id: &str, timeout_seconds: i64) -> Result<(), CriError>;
    /// Removes a container, killing it if it runs. Idempotent.
    async fn remove_container(&self, container_id: &str) -> Result<(), CriError>;
    /// Containers that match the filter.
    async fn list_containers(&self, filter: Option<ContainerFilter>) -> Result<Vec<Container>, CriError>;
    /// State of one container.
    async fn container_status(&self, container_id: &str) -> Result<ContainerStatusResponse, CriError>;
    /// Changes the limits of a running container.
    async fn update_container_resources(&self, request: UpdateContainerResourcesRequest) -> Result<(), CriError>;
    /// Changes the limits of a whole sandbox; engines that leave its control group to others cannot.
    async fn update_pod_sandbox_resources(
        &self,
        _sandbox_id: &str,
        _resources: LinuxContainerResources,
    ) -> Result<(), CriError> {
        Err(CriError::Unimplemented("this engine does not limit pods as a whole".to_owned()))
    }
    /// Opens the log file anew after it was rotated.
    async fn reopen_container_log(&self, container_id: &str) -> Result<(), CriError>;
    /// Runs a command and collects what it prints (at most 16 MiB); `timeout` in seconds, 0 means none.
    async fn exec_sync(
        &self,
        container_id: &str,
        command: Vec<String>,
        timeout: i64,
    ) -> Result<ExecSyncResponse, CriError>;
    /// CPU and memory of one container.
    async fn container_stats(&self, container_id: &str) -> Result<ContainerStats, CriError>;
    /// CPU and memory of the containers that match the filter.
    async fn list_container_stats(&self, filter: Option<ContainerStatsFilter>)
    -> Result<Vec<ContainerStats>, CriError>;
    /// Figures of one sandbox with its containers.
    async fn pod_sandbox_stats(&self, sandbox_id: &str) -> Result<PodSandboxStats, CriError>;
    /// Figures of the sandboxes that match the filter.
    async fn list_pod_sandbox_stats(
        &self,
        filter: Option<PodSandboxStatsFilter>,
    ) -> Result<Vec<PodSandboxStats>, CriError>;
    /// Tells the engine the node's pod address range.
    async fn update_runtime_config(&self, config: RuntimeConfig) -> Result<(), CriError>;
    /// Which cgroup driver the engine uses.
    async fn runtime_config(&self) -> Result<RuntimeConfigResponse, CriError>;
    /// Container lifecycle events from now on.
    async fn container_events(&self) -> Result<EventStream, CriError>;
}

/// Images (`runtime.v1.ImageService`).
#[async_trait]
pub trait ImageService: Send + Sync {
    /// Images that match the filter.
    async fn list_images(&self, filter: Option<ImageFilter>) -> Result<Vec<Image>, CriError>;
    /// One image, none when it is not on the node.
    async fn image_status(&self, image: ImageSpec) -> Result<Option<Image>, CriError>;
    /// Pulls an image; returns its reference (id).
    async fn pull_image(&self, request: PullImageRequest) -> Result<String, CriError>;
    /// Removes an image. Idempotent.
    async fn remove_image(&self, image: ImageSpec) -> Result<(), CriError>;
    /// Space taken by images.
    async fn image_fs_info(&self) -> Result<ImageFsInfoResponse, CriError>;
}
