//! What the engine knows of sandboxes and containers: in memory, and enough on disk to find everything again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cri::v1;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::client::Client;
use super::passwd::Identity;
use crate::shared::unpack;
use crate::shim::protocol::Exit;

/// A sandbox on disk (`pods/ID/sandbox.json`).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SandboxRecord {
    pub created_at: i64,
    /// CRI's own message, encoded.
    pub config: String,
    pub runtime_handler: String,
    pub addresses: Vec<IpAddr>,
    pub cgroup: String,
    /// Process that holds the shared PID namespace.
    pub pause: Option<i32>,
    pub stopped: bool,
}

/// A sandbox.
pub(crate) struct Sandbox {
    pub id: String,
    pub directory: PathBuf,
    pub config: v1::PodSandboxConfig,
    pub record: Mutex<SandboxRecord>,
    pub containers: RwLock<BTreeMap<String, Arc<Container>>>,
    pub shim: Client,
    /// Held while the sandbox is stopped or removed.
    pub lock: tokio::sync::Mutex<()>,
}

/// A container on disk (`pods/ID/containers/ID/container.json`).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    pub created_at: i64,
    /// CRI's own message, encoded.
    pub config: String,
    pub image_id: String,
    pub layers: Vec<String>,
    pub stop_signal: String,
    pub uid: u32,
    pub gid: u32,
    pub started_at: i64,
    /// Why it could not be started.
    pub failure: Option<String>,
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    Created,
    Running { pid: i32 },
    Exited(Exit),
}

/// A container.
pub(crate) struct Container {
    pub id: String,
    pub sandbox: String,
    pub directory: PathBuf,
    pub config: v1::ContainerConfig,
    pub record: Mutex<ContainerRecord>,
    pub cgroup: String,
    pub phase: watch::Sender<Phase>,
    /// Held while the container is started, stopped or removed.
    pub lock: tokio::sync::Mutex<()>,
}

/// Writes a record so that there is always a whole one.
pub(crate) fn save(file: &Path, record: &impl Serialize) -> io::Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, serde_json::to_vec(record)?)?;
    fs::rename(new, file)
}

impl Sandbox {
    pub(crate) fn new(id: String, directory: PathBuf, config: v1::PodSandboxConfig, record: SandboxRecord) -> Self {
        let (record, containers) = (Mutex::new(record), RwLock::default());
        Self { id, shim: Client::new(&directory), directory, config, record, containers, lock: Default::default() }
    }

    /// Reads a sandbox with its containers.
    pub(crate) fn load(directory: PathBuf) -> io::Result<Self> {
        let id = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let record: SandboxRecord = serde_json::from_slice(&fs::read(directory.join("sandbox.json"))?)?;
        let config = unpack(&record.config)?;
        let sandbox = Self::new(id, directory, config, record);
        let all = sandbox.containers_directory();
        for entry in fs::read_dir(&all)?.flatten() {
            match Container::load(&sandbox, entry.path()) {
                Ok(container) => drop(sandbox.containers.write().insert(container.id.clone(), Arc::new(container))),
                Err(error) => tracing::warn!(path = %entry.path().display(), %error, "a container cannot be read"),
            }
        }
        Ok(sandbox)
    }

    pub(crate) fn save(&self) -> io::Result<()> {
        save(&self.directory.join("sandbox.json"), &*self.record.lock())
    }

    /// Where its containers are kept.
    pub(crate) fn containers_directory(&self) -> PathBuf {
        self.directory.join("containers")
    }

    pub(crate) fn netns(&self) -> PathBuf {
        self.directory.join("ns/net")
    }

    pub(crate) fn options(&self) -> v1::NamespaceOption {
        let security = self.config.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
        security.and_then(|security| security.namespace_options.clone()).unwrap_or_default()
    }

    pub(crate) fn containers(&self) -> Vec<Arc<Container>> {
        self.containers.read().values().cloned().collect()
    }

    pub(crate) fn is_ready(&self) -> bool {
        !self.record.lock().stopped
    }
}

impl Container {
    pub(crate) fn new(sandbox: &Sandbox, id: String, config: v1::ContainerConfig, record: ContainerRecord) -> Self {
        let directory = sandbox.containers_directory().join(&id);
        let cgroup = format!("{}/{id}", sandbox.record.lock().cgroup);
        let phase = watch::Sender::new(Phase::Created);
        let record = Mutex::new(record);
        Self { sandbox: sandbox.id.clone(), id, directory, config, record, cgroup, phase, lock: Default::default() }
    }

    fn load(sandbox: &Sandbox, directory: PathBuf) -> io::Result<Self> {
        let id = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let record: ContainerRecord = serde_json::from_slice(&fs::read(directory.join("container.json"))?)?;
        let config = unpack(&record.config)?;
        let container = Self::new(sandbox, id, config, record);
        if let Some(exit) = container.exit_on_disk() {
            container.phase.send_replace(Phase::Exited(exit));
        }
        Ok(container)
    }

    /// What the shim wrote when the container ended.
    pub(crate) fn exit_on_disk(&self) -> Option<Exit> {
        serde_json::from_slice(&fs::read(self.directory.join("exit.json")).ok()?).ok()
    }

    pub(crate) fn save(&self) -> io::Result<()> {
        save(&self.directory.join("container.json"), &*self.record.lock())
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    pub(crate) fn identity(&self) -> Identity {
        let record = self.record.lock();
        Identity { uid: record.uid, gid: record.gid, ..Identity::default() }
    }

    /// Absolute path of its log.
    pub(crate) fn log_path(&self, sandbox: &Sandbox) -> Option<String> {
        let (directory, file) = (&sandbox.config.log_directory, &self.config.log_path);
        (!directory.is_empty() && !file.is_empty()).then(|| Path::new(directory).join(file).display().to_string())
    }
}
