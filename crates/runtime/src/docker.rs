//! Docker Engine behind the CRI traits, through its API.
//!
//! A sandbox is a container that sleeps, and whose namespaces the pod's containers join. What CRI says of either is kept
//! in Docker's own labels; what Docker cannot keep (the addresses that the pod network gave) is a small file a sandbox.
//! Docker's network is not used: the pod network attaches to the sandbox's namespace.

mod archive;
mod containers;
mod create;
mod events;
mod images;
mod labels;
mod sandbox;
mod service;
mod sessions;
mod status;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::ClientVersion;
use bollard::errors::Error;
use cni::PodNetwork;
use cri::{CriError, Local};
use sys::cgroup::Cgroups;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::shared::internal;

/// The API of Docker 20.10; later ones speak it, too.
const API: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };
/// Most calls are answered in this time, or not at all.
const USUAL: Duration = Duration::from_secs(120);
/// For calls that last as long as what they are about.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// What the engine needs to know.
#[derive(Clone)]
pub struct Config {
    /// Docker's socket.
    pub socket: PathBuf,
    /// Records of sandboxes are kept here.
    pub dir: PathBuf,
    /// Name of the instance: only containers that carry it are seen.
    pub instance: String,
    /// Attaches sandboxes to the pod network.
    pub network: Arc<dyn PodNetwork>,
}

/// The engine. Cheap to clone.
#[derive(Clone)]
pub struct Docker {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    api: bollard::Docker,
    cgroups: Cgroups,
    /// Where Docker keeps its containers.
    root: PathBuf,
    /// No process may be made less likely to be killed than this one, when the privilege for it is missing.
    least_oom_score: Option<i64>,
    version: String,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl Docker {
    /// Connects, and brings the image of sandboxes.
    pub async fn open(config: Config) -> Result<Self, CriError> {
        std::fs::create_dir_all(&config.dir).map_err(internal)?;
        let socket = config.socket.display().to_string();
        let api = bollard::Docker::connect_with_unix(&socket, LONG.as_secs(), &API).map_err(refused)?;
        let info = within(USUAL, api.info()).await?;
        let inner = Inner {
            api,
            cgroups: Cgroups::detect().map_err(internal)?,
            root: info.docker_root_dir.unwrap_or_else(|| "/var/lib/docker".to_owned()).into(),
            least_oom_score: least_oom_score(),
            version: info.server_version.unwrap_or_default(),
            tasks: TaskTracker::new(),
            cancel: CancellationToken::new(),
            config,
        };
        let engine = Self { inner: Arc::new(inner) };
        engine.bring_sandbox_image().await?;
        Ok(engine)
    }

    fn api(&self) -> &bollard::Docker {
        &self.inner.api
    }
}

#[async_trait]
impl Local for Docker {
    async fn import(&self, archive: &Path) -> Result<Vec<String>, CriError> {
        self.load(archive).await
    }

    async fn close(&self) {
        self.inner.cancel.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    async fn purge(&self) -> Result<(), CriError> {
        for sandbox in self.sandboxes().await? {
            self.stop_sandbox(&sandbox.id).await?;
            self.remove_sandbox(&sandbox.id).await?;
        }
        self.close().await;
        Ok(())
    }
}

/// Docker's answer, in time.
async fn within<T>(limit: Duration, call: impl Future<Output = Result<T, Error>>) -> Result<T, CriError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(refused),
        Err(_) => Err(CriError::DeadlineExceeded(format!("Docker did not answer within {} s", limit.as_secs()))),
    }
}

/// What is gone already is as it should be.
fn unless_gone(answer: Result<(), CriError>) -> Result<(), CriError> {
    match answer {
        Err(CriError::NotFound(_)) => Ok(()),
        other => other,
    }
}

fn refused(error: Error) -> CriError {
    match error {
        Error::DockerResponseServerError { status_code: 404, message } => CriError::NotFound(message),
        Error::DockerResponseServerError { status_code: 400, message } => CriError::InvalidArgument(message),
        Error::DockerResponseServerError { status_code: 409, message } => CriError::FailedPrecondition(message),
        Error::DockerResponseServerError { message, .. } => CriError::Internal(message),
        Error::DockerStreamError { error } => CriError::Internal(error),
        Error::SocketNotFoundError(socket) => CriError::Unavailable(format!("there is no socket {socket}")),
        other => CriError::Unavailable(other.to_string()),
    }
}

/// Lowering a score takes a capability (`CAP_SYS_RESOURCE`) that this process, and so Docker beside it, may lack.
fn least_oom_score() -> Option<i64> {
    const SYS_RESOURCE: u64 = 1 << 24;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(line.trim(), 16).ok()?;
    if effective & SYS_RESOURCE != 0 {
        return None;
    }
    std::fs::read_to_string("/proc/self/oom_score_adj").ok()?.trim().parse().ok()
}
