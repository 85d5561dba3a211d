//! The native engine: containers by libcontainer, without a daemon of others.

mod capabilities;
mod client;
mod container;
pub(crate) mod images;
mod passwd;
mod sandbox;
mod seccomp;
mod service;
mod spec;
mod state;
mod stats;
mod streaming;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use cni::PodNetwork;
use cri::{CriError, Local};
use parking_lot::RwLock;
use sys::cgroup::Cgroups;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use images::ImageError;
use images::store::Store;
use state::{Container, Sandbox};

use crate::shared::internal;

/// What the engine needs to know.
#[derive(Clone)]
pub struct Config {
    /// The data directory: `images/` and `pods/` are made in it.
    pub dir: PathBuf,
    /// Name of the instance: the root of its control groups.
    pub instance: String,
    /// Program whose `shim` command is [`crate::shim::main`]; the running one, in production.
    pub program: PathBuf,
    /// Attaches sandboxes to the pod network.
    pub network: Arc<dyn PodNetwork>,
    /// Registries with particular wishes.
    pub registries: Vec<Registry>,
}

/// How to reach one registry.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    /// Its host (and port), as image names have it; `*` for all.
    pub host: String,
    /// Hosts that are asked first.
    pub mirrors: Vec<String>,
    /// Plain HTTP.
    pub insecure: bool,
    /// Certificates (PEM) that are trusted beside the system's.
    pub ca: Option<PathBuf>,
}

/// The engine. Cheap to clone.
#[derive(Clone)]
pub struct Native {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    cgroups: Cgroups,
    images: Arc<Store>,
    /// Capabilities that can be given on.
    permitted: u64,
    sandboxes: RwLock<BTreeMap<String, Arc<Sandbox>>>,
    /// Container id and what happened to it.
    events: broadcast::Sender<(Arc<Container>, cri::v1::ContainerEventType)>,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl Native {
    /// Opens the engine over its directory, and takes up the pods that an earlier process left running.
    pub async fn open(config: Config) -> Result<Self, CriError> {
        let cgroups = Cgroups::detect().map_err(internal)?;
        let images = Arc::new(Store::open(&config.dir.join("images")).map_err(internal)?);
        std::fs::create_dir_all(config.dir.join("pods")).map_err(internal)?;
        let status = std::fs::read_to_string("/proc/self/status").map_err(internal)?;
        let inner = Inner {
            cgroups,
            images,
            permitted: capabilities::permitted(&status),
            sandboxes: RwLock::default(),
            events: broadcast::channel(4096).0,
            tasks: TaskTracker::new(),
            cancel: CancellationToken::new(),
            config,
        };
        let engine = Self { inner: Arc::new(inner) };
        engine.inner.cgroups.create(&engine.inner.shims_cgroup()).map_err(internal)?;
        engine.adopt().await?;
        Ok(engine)
    }

    /// Imports every image of an archive (docker or OCI, plain or compressed); answers their ids.
    pub async fn import(&self, archive: &Path) -> Result<Vec<String>, ImageError> {
        let (inner, archive) = (self.inner.clone(), archive.to_owned());
        let work = move || images::archive::import(&inner.images, &archive);
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|e| Err(ImageError::Invalid(format!("the import broke off: {e}"))))
    }

    /// Lets go of everything; containers run on.
    pub async fn close(&self) {
        self.inner.cancel.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Stops and removes every pod, and takes away what the host was given: mounts, namespaces, control groups.
    pub async fn purge(&self) -> Result<(), CriError> {
        for id in self.sandbox_ids() {
            self.stop_sandbox(&id).await?;
            self.remove_sandbox(&id).await?;
        }
        self.close().await;
        sys::mount::unmount_below(&self.inner.config.dir.join("pods")).map_err(internal)?;
        let root = self.inner.root_cgroup();
        self.inner.cgroups.kill(&root).map_err(internal)?;
        self.inner.remove_cgroup(&root).await.map_err(internal)
    }

    fn sandbox_ids(&self) -> Vec<String> {
        self.inner.sandboxes.read().keys().cloned().collect()
    }
}

#[async_trait]
impl Local for Native {
    async fn import(&self, archive: &Path) -> Result<Vec<String>, CriError> {
        self.import(archive).await.map_err(internal)
    }

    async fn close(&self) {
        self.close().await;
    }

    async fn purge(&self) -> Result<(), CriError> {
        self.purge().await
    }
}

impl Inner {
    fn root_cgroup(&self) -> String {
        format!("/{}", self.config.instance)
    }

    /// The shims' own group.
    fn shims_cgroup(&self) -> String {
        format!("/{}/shims", self.config.instance)
    }

    /// Removes a control group as soon as its last processes, killed before, are gone.
    async fn remove_cgroup(&self, group: &str) -> Result<(), sys::SysError> {
        for _ in 0..200 {
            let removed = self.cgroups.remove(group);
            match &removed {
                Err(e) if e.source.kind() == std::io::ErrorKind::ResourceBusy => {
                    self.cgroups.kill(group)?;
                    // There is no event for "empty" in version 1.
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
                _ => return removed,
            }
        }
        self.cgroups.remove(group)
    }
}
