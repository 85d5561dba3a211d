//! Sandboxes and containers of a remote engine: one call each.

use std::time::Duration;

use async_trait::async_trait;

use super::{LONG, Remote, SLACK, USUAL, events, missing, within};
use crate::v1::*;
use crate::{CriError, EventStream, RuntimeService};

/// Gone is what was wanted.
fn unless_gone<T>(answer: Result<T, CriError>) -> Result<(), CriError> {
    match answer {
        Ok(_) | Err(CriError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}

#[async_trait]
impl RuntimeService for Remote {
    async fn version(&self) -> Result<VersionResponse, CriError> {
        within(USUAL, self.runtime().version(VersionRequest { version: "0.1.0".to_owned() })).await
    }

    async fn status(&self, request: StatusRequest) -> Result<StatusResponse, CriError> {
        within(USUAL, self.runtime().status(request)).await
    }

    async fn run_pod_sandbox(&self, request: RunPodSandboxRequest) -> Result<RunPodSandboxResponse, CriError> {
        within(2 * USUAL, self.runtime().run_pod_sandbox(request)).await
    }

    async fn stop_pod_sandbox(&self, sandbox_id: &str) -> Result<(), CriError> {
        let request = StopPodSandboxRequest { pod_sandbox_id: sandbox_id.to_owned() };
        unless_gone(within(USUAL, self.runtime().stop_pod_sandbox(request)).await)
    }

    async fn remove_pod_sandbox(&self, sandbox_id: &str) -> Result<(), CriError> {
        let request = RemovePodSandboxRequest { pod_sandbox_id: sandbox_id.to_owned() };
        unless_gone(within(USUAL, self.runtime().remove_pod_sandbox(request)).await)
    }

    async fn pod_sandbox_status(&self, sandbox_id: &str) -> Result<PodSandboxStatusResponse, CriError> {
        let request = PodSandboxStatusRequest { pod_sandbox_id: sandbox_id.to_owned(), verbose: false };
        within(USUAL, self.runtime().pod_sandbox_status(request)).await
    }

    async fn list_pod_sandbox(&self, filter: Option<PodSandboxFilter>) -> Result<Vec<PodSandbox>, CriError> {
        Ok(within(USUAL, self.runtime().list_pod_sandbox(ListPodSandboxRequest { filter })).await?.items)
    }

    async fn create_container(&self, request: CreateContainerRequest) -> Result<String, CriError> {
        Ok(within(USUAL, self.runtime().create_container(request)).await?.container_id)
    }

    async fn start_container(&self, container_id: &str) -> Result<(), CriError> {
        let request = StartContainerRequest { container_id: container_id.to_owned() };
        within(USUAL, self.runtime().start_container(request)).await.map(drop)
    }

    async fn stop_container(&self, container_id: &str, timeout_seconds: i64) -> Result<(), CriError> {
        let request = StopContainerRequest { container_id: container_id.to_owned(), timeout: timeout_seconds };
        let limit = USUAL + seconds(timeout_seconds);
        unless_gone(within(limit, self.runtime().stop_container(request)).await)
    }

    async fn remove_container(&self, container_id: &str) -> Result<(), CriError> {
        let request = RemoveContainerRequest { container_id: container_id.to_owned() };
        unless_gone(within(USUAL, self.runtime().remove_container(request)).await)
    }

    async fn list_containers(&self, filter: Option<ContainerFilter>) -> Result<Vec<Container>, CriError> {
        Ok(within(USUAL, self.runtime().list_containers(ListContainersRequest { filter })).await?.containers)
    }

    async fn container_status(&self, container_id: &str) -> Result<ContainerStatusResponse, CriError> {
        let request = ContainerStatusRequest { container_id: container_id.to_owned(), verbose: false };
        within(USUAL, self.runtime().container_status(request)).await
    }

    async fn update_container_resources(&self, request: UpdateContainerResourcesRequest) -> Result<(), CriError> {
        within(USUAL, self.runtime().update_container_resources(request)).await.map(drop)
    }

    async fn reopen_container_log(&self, container_id: &str) -> Result<(), CriError> {
        let request = ReopenContainerLogRequest { container_id: container_id.to_owned() };
        within(USUAL, self.runtime().reopen_container_log(request)).await.map(drop)
    }

    async fn exec_sync(
        &self,
        container_id: &str,
        command: Vec<String>,
        timeout: i64,
    ) -> Result<ExecSyncResponse, CriError> {
        let request = ExecSyncRequest { container_id: container_id.to_owned(), cmd: command, timeout };
        let limit = if timeout > 0 { SLACK + seconds(timeout) } else { LONG };
        within(limit, self.runtime().exec_sync(request)).await
    }

    async fn container_stats(&self, container_id: &str) -> Result<ContainerStats, CriError> {
        let request = ContainerStatsRequest { container_id: container_id.to_owned() };
        within(USUAL, self.runtime().container_stats(request)).await?.stats.ok_or_else(|| missing("figures"))
    }

    async fn list_container_stats(
        &self,
        filter: Option<ContainerStatsFilter>,
    ) -> Result<Vec<ContainerStats>, CriError> {
        Ok(within(USUAL, self.runtime().list_container_stats(ListContainerStatsRequest { filter })).await?.stats)
    }

    async fn pod_sandbox_stats(&self, sandbox_id: &str) -> Result<PodSandboxStats, CriError> {
        let request = PodSandboxStatsRequest { pod_sandbox_id: sandbox_id.to_owned() };
        within(USUAL, self.runtime().pod_sandbox_stats(request)).await?.stats.ok_or_else(|| missing("figures"))
    }

    async fn list_pod_sandbox_stats(
        &self,
        filter: Option<PodSandboxStatsFilter>,
    ) -> Result<Vec<PodSandboxStats>, CriError> {
        Ok(within(USUAL, self.runtime().list_pod_sandbox_stats(ListPodSandboxStatsRequest { filter })).await?.stats)
    }

    async fn update_runtime_config(&self, config: RuntimeConfig) -> Result<(), CriError> {
        if let Some(told) = &self.on_runtime_config {
            told(config.clone()).await?;
        }
        let request = UpdateRuntimeConfigRequest { runtime_config: Some(config) };
        match within(USUAL, self.runtime().update_runtime_config(request)).await {
            // It learns the range elsewhere, or from its network plugin's configuration.
            Ok(_) | Err(CriError::Unimplemented(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn runtime_config(&self) -> Result<RuntimeConfigResponse, CriError> {
        within(USUAL, self.runtime().runtime_config(RuntimeConfigRequest {})).await
    }

    async fn container_events(&self) -> Result<EventStream, CriError> {
        events::subscribe(self).await
    }
}
