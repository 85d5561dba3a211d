//! Containers: created, started, stopped, removed.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{CreateContainerOptionsBuilder, StopContainerOptionsBuilder};
use cri::v1::security_profile::ProfileType;
use cri::{CriError, v1};

use super::create;
use super::labels::{self, Container};
use super::{Docker, USUAL, unless_gone, within};
use crate::shared::internal;

impl Docker {
    pub(super) async fn containers(&self) -> Result<Vec<(Container, bollard::models::ContainerSummary)>, CriError> {
        let all = self.listed().await?.into_iter();
        let known = all.filter_map(|one| {
            let found = labels::container(one.id.as_deref()?, one.labels.as_ref()?)?;
            Some((found, one))
        });
        Ok(known.collect())
    }

    pub(super) async fn containers_of(&self, sandbox: &str) -> Result<Vec<Container>, CriError> {
        let all = self.containers().await?.into_iter().map(|(container, _)| container);
        Ok(all.filter(|container| container.sandbox == sandbox).collect())
    }

    pub(super) async fn container(&self, id: &str) -> Result<(Container, ContainerInspectResponse), CriError> {
        let found = self.inspect(id).await?;
        let labels = found.config.as_ref().and_then(|config| config.labels.clone()).unwrap_or_default();
        let container = labels::container(&found.id.clone().unwrap_or_default(), &labels);
        let missing = || CriError::NotFound(format!("there is no container {id}"));
        Ok((container.ok_or_else(missing)?, found))
    }

    pub(super) async fn create(&self, request: v1::CreateContainerRequest) -> Result<String, CriError> {
        let config = request.config.ok_or_else(|| CriError::InvalidArgument("no configuration".to_owned()))?;
        let (sandbox, _) = self.sandbox(&request.pod_sandbox_id).await?;
        if config.mounts.iter().any(|mount| mount.image.is_some()) {
            let text = "volumes of type image are not there on Docker Engine";
            return Err(CriError::Unimplemented(text.to_owned()));
        }
        for mount in &config.mounts {
            make_source(Path::new(&mount.host_path)).map_err(internal)?;
        }
        let log = match (sandbox.config.log_directory.as_str(), config.log_path.as_str()) {
            ("", _) | (_, "") => String::new(),
            (directory, file) => Path::new(directory).join(file).display().to_string(),
        };
        let seccomp = seccomp(&config)?;
        let image_id = config.image.as_ref().map(|image| image.image.clone()).unwrap_or_default();
        let container = Container { id: String::new(), sandbox: sandbox.id, config, log, image_id };
        let metadata = sandbox.config.metadata.clone().unwrap_or_default();
        let own = container.config.metadata.clone().unwrap_or_default();
        let name = format!(
            "k8s_{}_{}_{}_{}_{}_{:08x}",
            own.name,
            metadata.name,
            metadata.namespace,
            metadata.uid,
            own.attempt,
            rand::random::<u32>()
        );
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let body = create::container(&container, &sandbox.config, &self.node(seccomp));
        let id = within(USUAL, self.api().create_container(Some(options), body)).await?.id;
        if let Err(error) = self.link_log(&container.log, &id) {
            self.discard(&id).await?;
            return Err(internal(error));
        }
        Ok(id)
    }

    /// Docker writes the log; where CRI wants it there is a link.
    fn link_log(&self, log: &str, id: &str) -> io::Result<()> {
        if log.is_empty() {
            return Ok(());
        }
        let log = Path::new(log);
        if let Some(directory) = log.parent() {
            fs::create_dir_all(directory)?;
        }
        unlink(log)?;
        symlink(self.inner.root.join("containers").join(id).join(format!("{id}-json.log")), log)
    }

    pub(super) async fn start(&self, id: &str) -> Result<(), CriError> {
        within(USUAL, self.api().start_container(id, None)).await
    }

    /// Returns when it has ended.
    pub(super) async fn stop(&self, id: &str, seconds: i64) -> Result<(), CriError> {
        let grace = i32::try_from(seconds.max(0)).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(grace).build();
        let limit = USUAL + Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        unless_gone(within(limit, self.api().stop_container(id, Some(options))).await)
    }

    pub(super) async fn remove(&self, id: &str) -> Result<(), CriError> {
        let container = match self.container(id).await {
            Err(CriError::NotFound(_)) => return Ok(()),
            other => other?.0,
        };
        self.discard(&container.id).await?;
        if container.log.is_empty() { Ok(()) } else { unlink(Path::new(&container.log)).map_err(internal) }
    }
}

fn unlink(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// A folder for what is mounted but not there: so do other engines, and Docker's own old form of mounts.
fn make_source(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.exists() { Ok(()) } else { fs::create_dir_all(path) }
}

/// The profile that the container names as a file of this node.
fn seccomp(config: &v1::ContainerConfig) -> Result<Option<String>, CriError> {
    let security = config.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
    let profile = security.and_then(|security| security.seccomp.as_ref());
    match profile.filter(|profile| profile.profile_type == ProfileType::Localhost as i32) {
        None => Ok(None),
        Some(profile) => fs::read_to_string(&profile.localhost_ref)
            .map(Some)
            .map_err(|e| CriError::InvalidArgument(format!("seccomp profile {}: {e}", profile.localhost_ref))),
    }
}
