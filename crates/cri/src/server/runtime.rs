//! The runtime service on the wire: one call each.

use futures::StreamExt;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status, async_trait};

use super::{Answer, Service, answer};
use crate::v1::runtime_service_server::RuntimeService;
use crate::v1::*;

/// What no engine of this project has.
fn not_there<T>(what: &str) -> Answer<T> {
    Err(Status::unimplemented(format!("{what} is not there yet")))
}

#[async_trait]
impl RuntimeService for Service {
    type GetContainerEventsStream = BoxStream<'static, Result<ContainerEventResponse, Status>>;

    async fn version(&self, _: Request<VersionRequest>) -> Answer<VersionResponse> {
        answer(self.engine.version().await)
    }

    async fn status(&self, request: Request<StatusRequest>) -> Answer<StatusResponse> {
        answer(self.engine.status(request.into_inner()).await)
    }

    async fn run_pod_sandbox(&self, request: Request<RunPodSandboxRequest>) -> Answer<RunPodSandboxResponse> {
        answer(self.engine.run_pod_sandbox(request.into_inner()).await)
    }

    async fn stop_pod_sandbox(&self, request: Request<StopPodSandboxRequest>) -> Answer<StopPodSandboxResponse> {
        let stopped = self.engine.stop_pod_sandbox(&request.into_inner().pod_sandbox_id).await;
        answer(stopped.map(|()| StopPodSandboxResponse {}))
    }

    async fn remove_pod_sandbox(&self, request: Request<RemovePodSandboxRequest>) -> Answer<RemovePodSandboxResponse> {
        let removed = self.engine.remove_pod_sandbox(&request.into_inner().pod_sandbox_id).await;
        answer(removed.map(|()| RemovePodSandboxResponse {}))
    }

    async fn pod_sandbox_status(&self, request: Request<PodSandboxStatusRequest>) -> Answer<PodSandboxStatusResponse> {
        answer(self.engine.pod_sandbox_status(&request.into_inner().pod_sandbox_id).await)
    }

    async fn list_pod_sandbox(&self, request: Request<ListPodSandboxRequest>) -> Answer<ListPodSandboxResponse> {
        let items = self.engine.list_pod_sandbox(request.into_inner().filter).await;
        answer(items.map(|items| ListPodSandboxResponse { items }))
    }

    async fn create_container(&self, request: Request<CreateContainerRequest>) -> Answer<CreateContainerResponse> {
        let container_id = self.engine.create_container(request.into_inner()).await;
        answer(container_id.map(|container_id| CreateContainerResponse { container_id }))
    }

    async fn start_container(&self, request: Request<StartContainerRequest>) -> Answer<StartContainerResponse> {
        let started = self.engine.start_container(&request.into_inner().container_id).await;
        answer(started.map(|()| StartContainerResponse {}))
    }

    async fn stop_container(&self, request: Request<StopContainerRequest>) -> Answer<StopContainerResponse> {
        let request = request.into_inner();
        let stopped = self.engine.stop_container(&request.container_id, request.timeout).await;
        answer(stopped.map(|()| StopContainerResponse {}))
    }

    async fn remove_container(&self, request: Request<RemoveContainerRequest>) -> Answer<RemoveContainerResponse> {
        let removed = self.engine.remove_container(&request.into_inner().container_id).await;
        answer(removed.map(|()| RemoveContainerResponse {}))
    }

    async fn list_containers(&self, request: Request<ListContainersRequest>) -> Answer<ListContainersResponse> {
        let containers = self.engine.list_containers(request.into_inner().filter).await;
        answer(containers.map(|containers| ListContainersResponse { containers }))
    }

    async fn container_status(&self, request: Request<ContainerStatusRequest>) -> Answer<ContainerStatusResponse> {
        answer(self.engine.container_status(&request.into_inner().container_id).await)
    }

    async fn update_container_resources(
        &self,
        request: Request<UpdateContainerResourcesRequest>,
    ) -> Answer<UpdateContainerResourcesResponse> {
        let updated = self.engine.update_container_resources(request.into_inner()).await;
        answer(updated.map(|()| UpdateContainerResourcesResponse {}))
    }

    async fn reopen_container_log(
        &self,
        request: Request<ReopenContainerLogRequest>,
    ) -> Answer<ReopenContainerLogResponse> {
        let reopened = self.engine.reopen_container_log(&request.into_inner().container_id).await;
        answer(reopened.map(|()| ReopenContainerLogResponse {}))
    }

    async fn exec_sync(&self, request: Request<ExecSyncRequest>) -> Answer<ExecSyncResponse> {
        let request = request.into_inner();
        answer(self.engine.exec_sync(&request.container_id, request.cmd, request.timeout).await)
    }

    async fn exec(&self, request: Request<ExecRequest>) -> Answer<ExecResponse> {
        answer(self.sessions.exec(request.into_inner()).map(|url| ExecResponse { url }))
    }

    async fn attach(&self, request: Request<AttachRequest>) -> Answer<AttachResponse> {
        answer(self.sessions.attach(request.into_inner()).map(|url| AttachResponse { url }))
    }

    async fn port_forward(&self, request: Request<PortForwardRequest>) -> Answer<PortForwardResponse> {
        answer(self.sessions.port_forward(request.into_inner()).map(|url| PortForwardResponse { url }))
    }

    async fn container_stats(&self, request: Request<ContainerStatsRequest>) -> Answer<ContainerStatsResponse> {
        let stats = self.engine.container_stats(&request.into_inner().container_id).await;
        answer(stats.map(|stats| ContainerStatsResponse { stats: Some(stats) }))
    }

    async fn list_container_stats(
        &self,
        request: Request<ListContainerStatsRequest>,
    ) -> Answer<ListContainerStatsResponse> {
        let stats = self.engine.list_container_stats(request.into_inner().filter).await;
        answer(stats.map(|stats| ListContainerStatsResponse { stats }))
    }

    async fn pod_sandbox_stats(&self, request: Request<PodSandboxStatsRequest>) -> Answer<PodSandboxStatsResponse> {
        let stats = self.engine.pod_sandbox_stats(&request.into_inner().pod_sandbox_id).await;
        answer(stats.map(|stats| PodSandboxStatsResponse { stats: Some(stats) }))
    }

    async fn list_pod_sandbox_stats(
        &self,
        request: Request<ListPodSandboxStatsRequest>,
    ) -> Answer<ListPodSandboxStatsResponse> {
        let stats = self.engine.list_pod_sandbox_stats(request.into_inner().filter).await;
        answer(stats.map(|stats| ListPodSandboxStatsResponse { stats }))
    }

    async fn update_runtime_config(
        &self,
        request: Request<UpdateRuntimeConfigRequest>,
    ) -> Answer<UpdateRuntimeConfigResponse> {
        let config = request.into_inner().runtime_config.unwrap_or_default();
        answer(self.engine.update_runtime_config(config).await.map(|()| UpdateRuntimeConfigResponse {}))
    }

    async fn checkpoint_container(
        &self,
        _: Request<CheckpointContainerRequest>,
    ) -> Answer<CheckpointContainerResponse> {
        not_there("a checkpoint of a container")
    }

    async fn get_container_events(&self, _: Request<GetEventsRequest>) -> Answer<Self::GetContainerEventsStream> {
        let events = self.engine.container_events().await.map_err(Status::from)?;
        Ok(Response::new(events.map(|event| event.map_err(Status::from)).boxed()))
    }

    async fn list_metric_descriptors(
        &self,
        _: Request<ListMetricDescriptorsRequest>,
    ) -> Answer<ListMetricDescriptorsResponse> {
        not_there("a list of metrics")
    }

    async fn list_pod_sandbox_metrics(
        &self,
        _: Request<ListPodSandboxMetricsRequest>,
    ) -> Answer<ListPodSandboxMetricsResponse> {
        not_there("a list of metrics")
    }

    async fn runtime_config(&self, _: Request<RuntimeConfigRequest>) -> Answer<RuntimeConfigResponse> {
        answer(self.engine.runtime_config().await)
    }
}
