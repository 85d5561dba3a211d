//! Containers: created as a bundle on disk, started by the shim.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cri::{CriError, v1};
use tokio::time::timeout;

use super::images::store::Record;
use super::passwd::{self, Identity};
use super::sandbox::new_id;
use super::state::{Container, ContainerRecord, Phase, Sandbox};
use super::{Inner, Native, internal, spec};
use crate::shared::{now, pack};
use crate::shim::protocol::{Reply, Request, Start};

const NODE: i32 = v1::NamespaceMode::Node as i32;
const KILL: i32 = 9;
/// Where images that are volumes are mounted, in a container's directory.
const VOLUMES: &str = "volumes";
/// After SIGKILL only the kernel itself can hold a process.
const KILL_PATIENCE: Duration = Duration::from_secs(30);

impl Native {
    pub(crate) fn container(&self, id: &str) -> Result<(Arc<Sandbox>, Arc<Container>), CriError> {
        let sandboxes = self.inner.sandboxes.read();
        let found = sandboxes.values().find_map(|s| s.containers.read().get(id).map(|c| (s.clone(), c.clone())));
        found.ok_or_else(|| {
            CriError::NotFound(format!("an error occurred when try to find container {id:?}: not found"))
        })
    }

    pub(crate) async fn create(&self, request: v1::CreateContainerRequest) -> Result<String, CriError> {
        let sandbox = self.sandbox(&request.pod_sandbox_id)?;
        let missing = || CriError::InvalidArgument("no container configuration".to_owned());
        let config = request.config.ok_or_else(missing)?;
        let image_name = config.image.as_ref().map(|image| image.image.clone()).unwrap_or_default();
        let image = self.inner.images.find(&image_name);
        let image =
            image.ok_or_else(|| CriError::NotFound(format!("failed to resolve image {image_name:?}: not found")))?;
        let volumes = config.mounts.iter().filter_map(|mount| mount.image.as_ref().map(|image| &image.image));
        let volumes = volumes.map(|name| {
            let missing = || CriError::NotFound(format!("failed to resolve image {name:?} of a volume: not found"));
            self.inner.images.find(name).ok_or_else(missing)
        });
        let volumes = volumes.collect::<Result<Vec<_>, _>>()?;
        let (engine, owner) = (self.clone(), sandbox.clone());
        let work = move || engine.lay_out(&owner, config, &image, &volumes);
        let container = tokio::task::spawn_blocking(work).await.map_err(internal)??;
        sandbox.containers.write().insert(container.id.clone(), container.clone());
        self.announce(&container, v1::ContainerEventType::ContainerCreatedEvent);
        Ok(container.id.clone())
    }

    /// The container's directory with its root file system mounted and its configuration written. Blocks.
    fn lay_out(
        &self,
        sandbox: &Arc<Sandbox>,
        mut config: v1::ContainerConfig,
        image: &Record,
        volumes: &[Record],
    ) -> Result<Arc<Container>, CriError> {
        let id = new_id();
        let place = sandbox.containers_directory().join(&id).join(VOLUMES);
        for (number, mount) in config.mounts.iter_mut().filter(|mount| mount.image.is_some()).enumerate() {
            mount.host_path = place.join(number.to_string()).join("rootfs").display().to_string();
            mount.readonly = true;
        }
        let record = ContainerRecord {
            created_at: now(),
            config: pack(&config),
            image_id: image.id.clone(),
            layers: [image].into_iter().chain(volumes).flat_map(|image| image.layers.clone()).collect(),
            stop_signal: image.config.stop_signal.clone(),
            uid: 0,
            gid: 0,
            started_at: 0,
            failure: None,
        };
        let container = Container::new(sandbox, id, config, record);
        let done = self.fill(sandbox, &container, image, volumes);
        if let Err(error) = done {
            drop(unmount(&container.directory));
            drop(fs::remove_dir_all(&container.directory));
            return Err(error);
        }
        Ok(Arc::new(container))
    }

    fn fill(
        &self,
        sandbox: &Sandbox,
        container: &Container,
        image: &Record,
        volumes: &[Record],
    ) -> Result<(), CriError> {
        let at = |name: &str| container.directory.join(name);
        self.mount(&container.directory, image)?;
        for (number, image) in volumes.iter().enumerate() {
            self.mount(&at(VOLUMES).join(number.to_string()), image)?;
        }
        let identity = identity(&container.config, image, &at("rootfs"))?;
        {
            let mut record = container.record.lock();
            (record.uid, record.gid) = (identity.uid, identity.gid);
        }
        for mount in &container.config.mounts {
            // A host path that is not there becomes a directory, as with every other engine.
            if !Path::new(&mount.host_path).exists() {
                fs::create_dir_all(&mount.host_path).map_err(internal)?;
            }
        }
        let config = self.inner.spec(sandbox, container, image, &identity)?;
        fs::write(at("config.json"), serde_json::to_vec(&config).map_err(internal)?).map_err(internal)?;
        container.save().map_err(internal)
    }

    /// Mounts an image at `rootfs` in a directory.
    fn mount(&self, directory: &Path, image: &Record) -> Result<(), CriError> {
        let lower = self.inner.images.lower(image).map_err(internal)?;
        let at = |name: &str| directory.join(name);
        for name in ["rootfs", "upper", "work"] {
            fs::create_dir_all(at(name)).map_err(internal)?;
        }
        if lower.is_empty() {
            return sys::mount::bind(&at("upper"), &at("rootfs")).map_err(internal);
        }
        sys::mount::overlay(&lower, &at("upper"), &at("work"), &at("rootfs")).map_err(internal)
    }

    pub(crate) async fn start(&self, id: &str) -> Result<(), CriError> {
        let (sandbox, container) = self.container(id)?;
        let _held = container.lock.lock().await;
        if container.phase() != Phase::Created || container.record.lock().failure.is_some() {
            return Err(CriError::FailedPrecondition(format!("container {id:?} is not in created state")));
        }
        let resources = container.config.linux.as_ref().and_then(|linux| linux.resources.as_ref());
        let start = Start {
            id: id.to_owned(),
            log: container.log_path(&sandbox),
            tty: container.config.tty,
            stdin: container.config.stdin,
            stdin_once: container.config.stdin_once,
            oom_score_adj: resources.map(|resources| resources.oom_score_adj),
            cgroup: container.cgroup.clone(),
            uid: container.identity().uid,
        };
        container.record.lock().started_at = now();
        container.save().map_err(internal)?;
        match sandbox.shim.call(Request::Start(start)).await {
            Ok(Reply::Started { pid }) => {
                container.phase.send_if_modified(|phase| {
                    let first = *phase == Phase::Created;
                    if first {
                        *phase = Phase::Running { pid };
                    }
                    first
                });
                self.announce(&container, v1::ContainerEventType::ContainerStartedEvent);
                Ok(())
            }
            Ok(other) => Err(CriError::Internal(format!("the shim answered {other:?}"))),
            Err(error) => {
                {
                    let mut record = container.record.lock();
                    (record.failure, record.started_at) = (Some(error.to_string()), 0);
                }
                container.save().map_err(internal)?;
                Err(CriError::Internal(format!("failed to start container: {error}")))
            }
        }
    }

    /// Stops a container: its stop signal, and after `seconds` SIGKILL.
    pub(crate) async fn stop(&self, container: &Arc<Container>, seconds: i64) -> Result<(), CriError> {
        if !matches!(container.phase(), Phase::Running { .. }) {
            return Ok(());
        }
        let (sandbox, _) = self.container(&container.id)?;
        let kill = |signal| Request::Kill { id: container.id.clone(), exec: None, signal };
        let mut phase = container.phase.subscribe();
        if seconds > 0 {
            let signal = signal_number(&container.record.lock().stop_signal);
            sandbox.shim.call(kill(signal)).await.map_err(internal)?;
            let patience = Duration::from_secs(seconds.unsigned_abs());
            if timeout(patience, phase.wait_for(|phase| matches!(phase, Phase::Exited(_)))).await.is_ok() {
                return Ok(());
            }
        }
        sandbox.shim.call(kill(KILL)).await.map_err(internal)?;
        let ended = timeout(KILL_PATIENCE, phase.wait_for(|phase| matches!(phase, Phase::Exited(_)))).await;
        let stuck = |_| CriError::DeadlineExceeded(format!("container {:?} does not end after SIGKILL", container.id));
        ended.map_err(stuck)?.map_err(internal)?;
        Ok(())
    }

    pub(crate) async fn remove(&self, id: &str) -> Result<(), CriError> {
        let Ok((sandbox, container)) = self.container(id) else { return Ok(()) };
        let _held = container.lock.lock().await;
        self.stop(&container, 0).await?;
        // What left the container's process tree but not its control group ends now.
        self.inner.cgroups.kill(&container.cgroup).map_err(internal)?;
        self.inner.remove_cgroup(&container.cgroup).await.map_err(internal)?;
        if let Err(error) = sandbox.shim.call(Request::Forget { id: id.to_owned() }).await {
            tracing::debug!(container = id, %error, "the shim is gone already");
        }
        let (directory, state) = (container.directory.clone(), sandbox.directory.join("state").join(id));
        let work = move || -> io::Result<()> {
            unmount(&directory).map_err(io::Error::other)?;
            for path in [directory, state] {
                match fs::remove_dir_all(path) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                    _ => {}
                }
            }
            Ok(())
        };
        tokio::task::spawn_blocking(work).await.map_err(internal)?.map_err(internal)?;
        sandbox.containers.write().remove(id);
        self.announce(&container, v1::ContainerEventType::ContainerDeletedEvent);
        Ok(())
    }
}

/// Takes away the root file system of a container, and the images that it has as volumes.
fn unmount(directory: &Path) -> Result<(), sys::SysError> {
    let volumes = directory.join(VOLUMES);
    if volumes.exists() {
        sys::mount::unmount_below(&volumes)?;
    }
    sys::mount::unmount(&directory.join("rootfs"))
}

impl Inner {
    pub(crate) fn spec(
        &self,
        sandbox: &Sandbox,
        container: &Container,
        image: &Record,
        identity: &Identity,
    ) -> Result<serde_json::Value, CriError> {
        let options = sandbox.options();
        let security = container.config.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
        let own = security.and_then(|security| security.namespace_options.clone()).unwrap_or_else(|| options.clone());
        let pins = sandbox.directory.join("ns");
        let mut joined = Vec::new();
        if options.network != NODE {
            joined.extend([("network", pins.join("net")), ("uts", pins.join("uts"))]);
        }
        if options.ipc != NODE {
            joined.push(("ipc", pins.join("ipc")));
        }
        joined.extend(self.pid_namespace(sandbox, &own)?.map(|path| ("pid", path)));
        let file = |name: &str| Some(sandbox.directory.join(name));
        let host = fs::read_to_string(sandbox.directory.join("hostname")).map_err(internal)?;
        let shm = if options.ipc == NODE { PathBuf::from("/dev/shm") } else { sandbox.directory.join("shm") };
        Ok(spec::config(&spec::Input {
            container: &container.config,
            image: &image.config,
            identity,
            host: host.trim_end(),
            cgroup: &container.cgroup,
            cgroup_v2: self.cgroups.is_v2(),
            joined,
            own_pid: own.pid == v1::NamespaceMode::Container as i32,
            resolv_conf: file("resolv.conf"),
            hostname: file("hostname"),
            shm,
            permitted: self.permitted,
        }))
    }

    /// The PID namespace to join, if it is neither the container's own nor the host's.
    fn pid_namespace(&self, sandbox: &Sandbox, own: &v1::NamespaceOption) -> Result<Option<PathBuf>, CriError> {
        let of = |pid: i32| Some(PathBuf::from(format!("/proc/{pid}/ns/pid")));
        if own.pid == v1::NamespaceMode::Pod as i32 {
            let pause = sandbox.record.lock().pause;
            let none = || CriError::FailedPrecondition("the sandbox has no shared PID namespace".to_owned());
            return pause.map(of).ok_or_else(none);
        }
        if own.pid == v1::NamespaceMode::Target as i32 {
            let target = sandbox.containers.read().get(&own.target_id).map(|target| target.phase());
            let Some(Phase::Running { pid }) = target else {
                return Err(CriError::FailedPrecondition(format!("container {:?} is not running", own.target_id)));
            };
            return Ok(of(pid));
        }
        Ok(None)
    }
}

/// Who the container runs as: the pod's word before the image's.
fn identity(config: &v1::ContainerConfig, image: &Record, rootfs: &Path) -> Result<Identity, CriError> {
    let security = config.linux.as_ref().and_then(|linux| linux.security_context.clone()).unwrap_or_default();
    let mut user = match (&security.run_as_user, security.run_as_username.as_str()) {
        (Some(user), _) => user.value.to_string(),
        (None, "") => image.config.user.clone(),
        (None, name) => name.to_owned(),
    };
    if let Some(group) = &security.run_as_group {
        let name = user.split(':').next().unwrap_or_default();
        user = format!("{}:{}", if name.is_empty() { "0" } else { name }, group.value);
    }
    let read = |name: &str| {
        // A symlink could lead out of the image: such a file is not read.
        let plain = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| !found.is_symlink());
        let (directory, file) = (rootfs.join("etc"), rootfs.join("etc").join(name));
        if plain(&directory) && plain(&file) { fs::read_to_string(file).unwrap_or_default() } else { String::new() }
    };
    passwd::resolve(&user, &read("passwd"), &read("group")).map_err(CriError::InvalidArgument)
}

/// `SIGQUIT`, `QUIT` or `3` as a number; SIGTERM when nothing is said.
fn signal_number(name: &str) -> i32 {
    use nix::sys::signal::Signal;
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper.clone() } else { format!("SIG{upper}") };
    let by_name = full.parse::<Signal>().map(|signal| signal as i32).ok();
    upper.parse().ok().or(by_name).unwrap_or(Signal::SIGTERM as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_signals_by_any_name() {
        assert_eq!(["SIGQUIT", "quit", "3", "", "nonsense"].map(signal_number), [3, 3, 3, 15, 15]);
    }
}
