//! Sandboxes: a sleeping container, the pod network, a resolver configuration.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder,
};
use cni::Attachment;
use cri::{CriError, v1};
use serde::{Deserialize, Serialize};

use super::create::{self, Node};
use super::labels::{self, Sandbox};
use super::{Docker, USUAL, unless_gone, within};
use crate::pause;
use crate::shared::{internal, port_mapping, resolv_conf};

/// What Docker cannot keep of a sandbox (`DIR/ID.json`).
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) addresses: Vec<String>,
}

impl Docker {
    pub(super) fn node(&self, seccomp: Option<String>) -> Node<'_> {
        Node { instance: &self.inner.config.instance, least_oom_score: self.inner.least_oom_score, seccomp }
    }

    pub(super) async fn bring_sandbox_image(&self) -> Result<(), CriError> {
        match within(USUAL, self.api().inspect_image(pause::IMAGE)).await {
            Err(CriError::NotFound(_)) => {}
            other => return other.map(drop),
        }
        let none = || CriError::Unimplemented("there is no sandbox image for this machine yet".to_owned());
        let archive = pause::archive().ok_or_else(none)?.map_err(internal)?;
        self.load_bytes(archive).await.map(drop)
    }

    /// Every container of this instance, with what Docker lists of it.
    pub(super) async fn listed(&self) -> Result<Vec<bollard::models::ContainerSummary>, CriError> {
        let own = format!("{}={}", labels::INSTANCE, self.inner.config.instance);
        let filters = HashMap::from([("label", vec![own.as_str()])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        within(USUAL, self.api().list_containers(Some(options))).await
    }

    pub(super) async fn sandboxes(&self) -> Result<Vec<Sandbox>, CriError> {
        let all = self.listed().await?.into_iter();
        Ok(all
            .filter_map(|one| labels::sandbox(&one.id.unwrap_or_default(), &one.labels.unwrap_or_default()))
            .collect())
    }

    pub(super) async fn inspect(&self, id: &str) -> Result<ContainerInspectResponse, CriError> {
        within(USUAL, self.api().inspect_container(id, None)).await
    }

    pub(super) async fn sandbox(&self, id: &str) -> Result<(Sandbox, ContainerInspectResponse), CriError> {
        let found = self.inspect(id).await?;
        let labels = found.config.as_ref().and_then(|config| config.labels.clone()).unwrap_or_default();
        let sandbox = labels::sandbox(&found.id.clone().unwrap_or_default(), &labels);
        let missing = || CriError::NotFound(format!("there is no sandbox {id}"));
        Ok((sandbox.ok_or_else(missing)?, found))
    }

    fn record_path(&self, id: &str) -> PathBuf {
        self.inner.config.dir.join(format!("{id}.json"))
    }

    pub(super) fn record(&self, id: &str) -> Record {
        let bytes = fs::read(self.record_path(id)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    pub(super) async fn run_sandbox(&self, request: v1::RunPodSandboxRequest) -> Result<String, CriError> {
        let config = request.config.ok_or_else(|| CriError::InvalidArgument("no sandbox configuration".to_owned()))?;
        if !request.runtime_handler.is_empty() {
            return Err(CriError::NotFound(format!("no runtime for {:?} is configured", request.runtime_handler)));
        }
        let metadata = config.metadata.clone().unwrap_or_default();
        // Docker wants names to be unique: an attempt that failed may still hold its own.
        let name = format!(
            "k8s_POD_{}_{}_{}_{}_{:08x}",
            metadata.name,
            metadata.namespace,
            metadata.uid,
            metadata.attempt,
            rand::random::<u32>()
        );
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let body = create::sandbox(&config, &self.node(None));
        let id = within(USUAL, self.api().create_container(Some(options), body)).await?.id;
        if let Err(error) = self.set_up(&id, &config).await {
            if let Err(left) = self.remove_sandbox(&id).await {
                tracing::warn!(sandbox = id, error = %left, "a failed sandbox left something behind");
            }
            return Err(error);
        }
        Ok(id)
    }

    async fn set_up(&self, id: &str, config: &v1::PodSandboxConfig) -> Result<(), CriError> {
        within(USUAL, self.api().start_container(id, None)).await?;
        let found = self.inspect(id).await?;
        if let (Some(dns), Some(path)) = (&config.dns_config, &found.resolv_conf_path)
            && !path.is_empty()
        {
            fs::write(path, resolv_conf(dns)).map_err(internal)?;
        }
        let own_network = create::options(config).network != v1::NamespaceMode::Node as i32;
        let mut record = Record::default();
        if own_network {
            let metadata = config.metadata.clone().unwrap_or_default();
            let attachment = Attachment {
                sandbox_id: id.to_owned(),
                namespace: metadata.namespace,
                name: metadata.name,
                netns: netns(&found)?,
                port_mappings: config.port_mappings.iter().filter_map(port_mapping).collect(),
            };
            let attached = self.inner.config.network.attach(&attachment).await;
            let attached =
                attached.map_err(|e| CriError::Internal(format!("failed to set up sandbox network: {e}")))?;
            record.addresses = attached.addresses.iter().map(ToString::to_string).collect();
        }
        let (path, bytes) = (self.record_path(id), serde_json::to_vec(&record).map_err(internal)?);
        let new = path.with_extension("new");
        fs::write(&new, bytes).and_then(|()| fs::rename(&new, path)).map_err(internal)
    }

    pub(super) async fn stop_sandbox(&self, id: &str) -> Result<(), CriError> {
        let (sandbox, found) = match self.sandbox(id).await {
            Err(CriError::NotFound(_)) => return Ok(()),
            other => other?,
        };
        for container in self.containers_of(id).await? {
            self.stop(&container.id, 0).await?;
        }
        if create::options(&sandbox.config).network != v1::NamespaceMode::Node as i32 {
            let netns = netns(&found).unwrap_or_default();
            let detached = self.inner.config.network.detach(id, &netns).await;
            detached.map_err(|e| CriError::Internal(format!("failed to take down sandbox network: {e}")))?;
        }
        let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        match within(USUAL, self.api().kill_container(id, Some(options))).await {
            // It does not run.
            Err(CriError::FailedPrecondition(_) | CriError::NotFound(_)) => Ok(()),
            other => other,
        }
    }

    pub(super) async fn remove_sandbox(&self, id: &str) -> Result<(), CriError> {
        self.stop_sandbox(id).await?;
        for container in self.containers_of(id).await? {
            self.remove(&container.id).await?;
        }
        self.discard(id).await?;
        match fs::remove_file(self.record_path(id)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(internal(e)),
            _ => Ok(()),
        }
    }

    /// Removes a container of Docker's with its anonymous volumes.
    pub(super) async fn discard(&self, id: &str) -> Result<(), CriError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match within(USUAL, self.api().remove_container(id, Some(options))).await {
            // Somebody else is at it: it is gone when that is done.
            Err(CriError::FailedPrecondition(said)) if said.contains("already in progress") => Ok(()),
            other => unless_gone(other),
        }
    }
}

/// The network namespace of a container that runs.
pub(super) fn netns(found: &ContainerInspectResponse) -> Result<PathBuf, CriError> {
    let pid = found.state.as_ref().and_then(|state| state.pid).filter(|pid| *pid > 0);
    let pid = pid.ok_or_else(|| CriError::FailedPrecondition("the sandbox does not run".to_owned()))?;
    Ok(format!("/proc/{pid}/ns/net").into())
}
