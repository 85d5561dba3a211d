//! The engine as CRI's runtime service.

use std::collections::HashMap;

use async_trait::async_trait;
use bollard::models::ContainerUpdateBody;
use cri::v1::*;
use cri::{CriError, EventStream, RuntimeService};

use super::labels::{Container as Known, Sandbox};
use super::{Docker, USUAL, status, within};
use crate::shared::{cpu, fits, internal, matches, memory, now, value};

impl Docker {
    async fn status_of_sandbox(&self, id: &str) -> Result<PodSandboxStatus, CriError> {
        let (sandbox, found) = self.sandbox(id).await?;
        Ok(status::sandbox(&sandbox, &found, self.record(&sandbox.id).addresses))
    }

    /// Figures of a control group below the pod's; none when it is not there.
    fn figures(&self, parent: &str, id: &str) -> Option<sys::cgroup::Stats> {
        self.inner.cgroups.stats(&format!("{}/{id}", parent.trim_end_matches('/'))).ok()
    }

    fn stats_of(&self, container: &Known, parent: &str) -> Option<ContainerStats> {
        let (stats, timestamp) = (self.figures(parent, &container.id)?, now());
        Some(ContainerStats {
            attributes: Some(ContainerAttributes {
                id: container.id.clone(),
                metadata: container.config.metadata.clone(),
                labels: container.config.labels.clone(),
                annotations: container.config.annotations.clone(),
            }),
            cpu: Some(cpu(&stats, timestamp)),
            memory: Some(memory(&stats, timestamp)),
            writable_layer: None,
            swap: None,
        })
    }

    async fn parents(&self) -> Result<HashMap<String, String>, CriError> {
        Ok(self.sandboxes().await?.into_iter().map(|one| (one.id.clone(), parent(&one))).collect())
    }

    async fn stats_of_sandboxes(&self, all: Vec<Sandbox>) -> Result<Vec<PodSandboxStats>, CriError> {
        let containers = self.containers().await?;
        let stats = all.into_iter().map(|sandbox| {
            let group = parent(&sandbox);
            let (figures, timestamp) = (self.inner.cgroups.stats(&group).unwrap_or_default(), now());
            let own = containers.iter().filter(|(container, _)| container.sandbox == sandbox.id);
            PodSandboxStats {
                linux: Some(LinuxPodSandboxStats {
                    cpu: Some(cpu(&figures, timestamp)),
                    memory: Some(memory(&figures, timestamp)),
                    network: None,
                    process: Some(ProcessUsage { timestamp, process_count: value(figures.processes) }),
                    containers: own.filter_map(|(container, _)| self.stats_of(container, &group)).collect(),
                }),
                attributes: Some(PodSandboxAttributes {
                    id: sandbox.id,
                    metadata: sandbox.config.metadata,
                    labels: sandbox.config.labels,
                    annotations: sandbox.config.annotations,
                }),
                windows: None,
            }
        });
        Ok(stats.collect())
    }
}

fn parent(sandbox: &Sandbox) -> String {
    sandbox.config.linux.as_ref().map(|linux| linux.cgroup_parent.clone()).unwrap_or_default()
}

fn listed(container: Known, state: ContainerState, created_at: i64) -> Container {
    Container {
        id: container.id,
        pod_sandbox_id: container.sandbox,
        metadata: container.config.metadata,
        image: container.config.image,
        image_ref: container.image_id.clone(),
        image_id: container.image_id,
        state: state as i32,
        created_at,
        labels: container.config.labels,
        annotations: container.config.annotations,
    }
}

#[async_trait]
impl RuntimeService for Docker {
    async fn version(&self) -> Result<VersionResponse, CriError> {
        Ok(VersionResponse {
            version: "0.1.0".to_owned(),
            runtime_name: "docker".to_owned(),
            runtime_version: self.inner.version.clone(),
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
        let docker = within(USUAL, self.api().ping()).await.err().map(|e| e.to_string());
        let network = self.inner.config.network.ready().await.err().map(|e| e.to_string());
        let conditions = vec![
            condition("RuntimeReady", docker, "DockerDaemonNotReady"),
            condition("NetworkReady", network, "NetworkPluginNotReady"),
        ];
        Ok(StatusResponse { status: Some(RuntimeStatus { conditions }), ..StatusResponse::default() })
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
        let status = self.status_of_sandbox(sandbox_id).await?;
        Ok(PodSandboxStatusResponse { status: Some(status), timestamp: now(), ..PodSandboxStatusResponse::default() })
    }

    async fn list_pod_sandbox(&self, filter: Option<PodSandboxFilter>) -> Result<Vec<PodSandbox>, CriError> {
        let filter = filter.unwrap_or_default();
        let mut found = Vec::new();
        for one in self.listed().await? {
            let (id, labels) = (one.id.unwrap_or_default(), one.labels.unwrap_or_default());
            let Some(sandbox) = super::labels::sandbox(&id, &labels) else { continue };
            let word = one.state.map(|state| state.to_string()).unwrap_or_default();
            let running = status::listed_state(&word) == ContainerState::ContainerRunning;
            let state = if running { PodSandboxState::SandboxReady } else { PodSandboxState::SandboxNotready } as i32;
            let wanted = fits(&filter.id, &id)
                && filter.state.as_ref().is_none_or(|wanted| wanted.state == state)
                && matches(&filter.label_selector, &sandbox.config.labels);
            if wanted {
                found.push(PodSandbox {
                    id,
                    metadata: sandbox.config.metadata,
                    state,
                    created_at: one.created.unwrap_or(0).saturating_mul(1_000_000_000),
                    labels: sandbox.config.labels,
                    annotations: sandbox.config.annotations,
                    runtime_handler: String::new(),
                });
            }
        }
        Ok(found)
    }

    async fn create_container(&self, request: CreateContainerRequest) -> Result<String, CriError> {
        self.create(request).await
    }

    async fn start_container(&self, container_id: &str) -> Result<(), CriError> {
        self.start(container_id).await
    }

    async fn stop_container(&self, container_id: &str, timeout_seconds: i64) -> Result<(), CriError> {
        self.stop(container_id, timeout_seconds).await
    }

    async fn remove_container(&self, container_id: &str) -> Result<(), CriError> {
        self.remove(container_id).await
    }

    async fn list_containers(&self, filter: Option<ContainerFilter>) -> Result<Vec<Container>, CriError> {
        let filter = filter.unwrap_or_default();
        let mut found = Vec::new();
        for (container, one) in self.containers().await? {
            let state = status::listed_state(&one.state.map(|state| state.to_string()).unwrap_or_default());
            let wanted = fits(&filter.id, &container.id)
                && fits(&filter.pod_sandbox_id, &container.sandbox)
                && filter.state.as_ref().is_none_or(|wanted| wanted.state == state as i32)
                && matches(&filter.label_selector, &container.config.labels);
            if wanted {
                found.push(listed(container, state, one.created.unwrap_or(0).saturating_mul(1_000_000_000)));
            }
        }
        Ok(found)
    }

    async fn container_status(&self, container_id: &str) -> Result<ContainerStatusResponse, CriError> {
        let (container, found) = self.container(container_id).await?;
        let status = Some(status::container(&container, &found));
        Ok(ContainerStatusResponse { status, info: HashMap::new() })
    }

    async fn update_container_resources(&self, request: UpdateContainerResourcesRequest) -> Result<(), CriError> {
        let linux = request.linux.unwrap_or_default();
        let set = |value: i64| (value != 0).then_some(value);
        let text = |text: String| (!text.is_empty()).then_some(text);
        let body = ContainerUpdateBody {
            cpu_shares: set(linux.cpu_shares),
            cpu_quota: set(linux.cpu_quota),
            cpu_period: set(linux.cpu_period),
            memory: set(linux.memory_limit_in_bytes),
            memory_swap: set(linux.memory_limit_in_bytes),
            cpuset_cpus: text(linux.cpuset_cpus),
            cpuset_mems: text(linux.cpuset_mems),
            ..ContainerUpdateBody::default()
        };
        within(USUAL, self.api().update_container(&request.container_id, body)).await.map(drop)
    }

    async fn reopen_container_log(&self, _container_id: &str) -> Result<(), CriError> {
        Err(CriError::Unimplemented("Docker rotates its logs itself".to_owned()))
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
        let (container, _) = self.container(container_id).await?;
        let (sandbox, _) = self.sandbox(&container.sandbox).await?;
        let missing = || CriError::NotFound(format!("container {container_id} has no control group"));
        self.stats_of(&container, &parent(&sandbox)).ok_or_else(missing)
    }

    async fn list_container_stats(
        &self,
        filter: Option<ContainerStatsFilter>,
    ) -> Result<Vec<ContainerStats>, CriError> {
        let (filter, parents) = (filter.unwrap_or_default(), self.parents().await?);
        let all = self.containers().await?.into_iter().map(|(container, _)| container);
        let wanted = all.filter(|container| {
            fits(&filter.id, &container.id)
                && fits(&filter.pod_sandbox_id, &container.sandbox)
                && matches(&filter.label_selector, &container.config.labels)
        });
        Ok(wanted.filter_map(|container| self.stats_of(&container, parents.get(&container.sandbox)?)).collect())
    }

    async fn pod_sandbox_stats(&self, sandbox_id: &str) -> Result<PodSandboxStats, CriError> {
        let (sandbox, _) = self.sandbox(sandbox_id).await?;
        let stats = self.stats_of_sandboxes(vec![sandbox]).await?;
        stats.into_iter().next().ok_or_else(|| CriError::NotFound(format!("there is no sandbox {sandbox_id}")))
    }

    async fn list_pod_sandbox_stats(
        &self,
        filter: Option<PodSandboxStatsFilter>,
    ) -> Result<Vec<PodSandboxStats>, CriError> {
        let filter = filter.unwrap_or_default();
        let mut all = self.sandboxes().await?;
        all.retain(|one| fits(&filter.id, &one.id) && matches(&filter.label_selector, &one.config.labels));
        self.stats_of_sandboxes(all).await
    }

    async fn update_runtime_config(&self, config: RuntimeConfig) -> Result<(), CriError> {
        let Some(network) = config.network_config.filter(|network| !network.pod_cidr.is_empty()) else { return Ok(()) };
        self.inner.config.network.set_pod_cidr(&network.pod_cidr).await.map_err(internal)
    }

    async fn runtime_config(&self) -> Result<RuntimeConfigResponse, CriError> {
        let info = within(USUAL, self.api().info()).await?;
        let systemd = info.cgroup_driver.is_some_and(|driver| driver.to_string() == "systemd");
        let driver = if systemd { CgroupDriver::Systemd } else { CgroupDriver::Cgroupfs };
        Ok(RuntimeConfigResponse { linux: Some(LinuxRuntimeConfiguration { cgroup_driver: driver as i32 }) })
    }

    async fn container_events(&self) -> Result<EventStream, CriError> {
        Ok(self.follow())
    }
}
