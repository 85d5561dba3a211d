//! Sandboxes: namespaces, network, control group, shim.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use cni::Attachment;
use cri::{CriError, v1};
use sys::cgroup::Limits;
use sys::namespace::{self, Kind};

use super::state::{Sandbox, SandboxRecord};
use super::{Native, internal};
use crate::shared::{SYSCTLS, now, pack, port_mapping, resolv_conf};
use crate::shim::protocol::{Reply, Request};

const NODE: i32 = v1::NamespaceMode::Node as i32;
const POD: i32 = v1::NamespaceMode::Pod as i32;

/// A new id: 64 hexadecimal digits, as everywhere.
pub(crate) fn new_id() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

impl Native {
    pub(crate) fn sandbox(&self, id: &str) -> Result<Arc<Sandbox>, CriError> {
        let missing = || CriError::NotFound(format!("an error occurred when try to find sandbox {id:?}: not found"));
        self.inner.sandboxes.read().get(id).cloned().ok_or_else(missing)
    }

    pub(crate) async fn run_sandbox(&self, request: v1::RunPodSandboxRequest) -> Result<String, CriError> {
        let config = request.config.ok_or_else(|| CriError::InvalidArgument("no sandbox configuration".to_owned()))?;
        if !request.runtime_handler.is_empty() {
            return Err(CriError::NotFound(format!("no runtime for {:?} is configured", request.runtime_handler)));
        }
        let id = new_id();
        let parent = config.linux.as_ref().map(|linux| linux.cgroup_parent.clone()).unwrap_or_default();
        let cgroup = cgroup_path(&self.inner.root_cgroup(), &parent, &id);
        let record = SandboxRecord {
            created_at: now(),
            config: pack(&config),
            runtime_handler: request.runtime_handler,
            addresses: Vec::new(),
            cgroup,
            pause: None,
            stopped: false,
        };
        let directory = self.inner.config.dir.join("pods").join(&id);
        let sandbox = Arc::new(Sandbox::new(id.clone(), directory, config, record));
        if let Err(error) = self.set_up(&sandbox).await {
            if let Err(left) = self.take_down(&sandbox).await {
                tracing::warn!(sandbox = %sandbox.id, error = %left, "a failed sandbox left something behind");
            }
            if let Err(left) = discard(&sandbox.directory) {
                tracing::warn!(sandbox = %sandbox.id, error = %left, "a failed sandbox left its directory behind");
            }
            return Err(error);
        }
        self.inner.sandboxes.write().insert(id.clone(), sandbox.clone());
        self.watch(sandbox);
        Ok(id)
    }

    async fn set_up(&self, sandbox: &Arc<Sandbox>) -> Result<(), CriError> {
        let (inner, worker) = (self.inner.clone(), sandbox.clone());
        let local = move || -> Result<(), CriError> {
            fs::create_dir_all(worker.directory.join("containers")).map_err(internal)?;
            fs::set_permissions(&worker.directory, fs::Permissions::from_mode(0o711)).map_err(internal)?;
            // From here on a restart finds the sandbox, and can take it down.
            worker.save().map_err(internal)?;
            files(&worker).map_err(internal)?;
            pin_namespaces(&worker)?;
            let cgroup = worker.record.lock().cgroup.clone();
            inner.cgroups.create(&cgroup).map_err(internal)?;
            let resources = worker.config.linux.as_ref().and_then(|linux| linux.resources.as_ref());
            if let Some(resources) = resources {
                inner.cgroups.limit(&cgroup, &limits(resources)).map_err(internal)?;
            }
            Ok(())
        };
        let local = tokio::task::spawn_blocking(local);
        local.await.map_err(internal)??;
        let shims = self.inner.shims_cgroup();
        let launch = sandbox.shim.launch(&self.inner.config.program, &shims);
        let (shim, network) = tokio::join!(launch, self.connect(sandbox));
        network?;
        shim.map_err(|e| CriError::Internal(format!("starting the shim: {e}")))?;
        if sandbox.options().pid == POD {
            let reply = sandbox.shim.call(Request::Pause).await.map_err(internal)?;
            if let Reply::Started { pid } = reply {
                sandbox.record.lock().pause = Some(pid);
            }
        }
        sandbox.save().map_err(internal)
    }

    async fn connect(&self, sandbox: &Sandbox) -> Result<(), CriError> {
        if sandbox.options().network == NODE {
            return Ok(());
        }
        let metadata = sandbox.config.metadata.clone().unwrap_or_default();
        let attachment = Attachment {
            sandbox_id: sandbox.id.clone(),
            namespace: metadata.namespace,
            name: metadata.name,
            netns: sandbox.netns(),
            port_mappings: sandbox.config.port_mappings.iter().filter_map(port_mapping).collect(),
        };
        let attached = self.inner.config.network.attach(&attachment).await;
        let attached = attached.map_err(|e| CriError::Internal(format!("failed to set up sandbox network: {e}")))?;
        sandbox.record.lock().addresses = attached.addresses;
        Ok(())
    }

    pub(crate) async fn stop_sandbox(&self, id: &str) -> Result<(), CriError> {
        let Ok(sandbox) = self.sandbox(id) else { return Ok(()) };
        let _held = sandbox.lock.lock().await;
        for container in sandbox.containers() {
            self.stop(&container, 0).await?;
        }
        self.take_down(&sandbox).await?;
        sandbox.record.lock().stopped = true;
        sandbox.save().map_err(internal)
    }

    /// Takes away what a sandbox has of the host. Idempotent.
    async fn take_down(&self, sandbox: &Sandbox) -> Result<(), CriError> {
        if sandbox.options().network != NODE {
            let detached = self.inner.config.network.detach(&sandbox.id, &sandbox.netns()).await;
            detached.map_err(|e| CriError::Internal(format!("failed to take down sandbox network: {e}")))?;
        }
        if let Err(error) = sandbox.shim.call(Request::Shutdown).await {
            tracing::debug!(sandbox = %sandbox.id, %error, "the shim is gone already");
        }
        namespace::unpin(&sandbox.directory.join("ns")).map_err(internal)?;
        sys::mount::unmount(&sandbox.directory.join("shm")).map_err(internal)
    }

    pub(crate) async fn remove_sandbox(&self, id: &str) -> Result<(), CriError> {
        let Ok(sandbox) = self.sandbox(id) else { return Ok(()) };
        self.stop_sandbox(id).await?;
        for container in sandbox.containers() {
            self.remove(&container.id).await?;
        }
        let _held = sandbox.lock.lock().await;
        let cgroup = sandbox.record.lock().cgroup.clone();
        let shared = {
            let others = self.inner.sandboxes.read();
            others.values().any(|other| other.id != sandbox.id && other.record.lock().cgroup == cgroup)
        };
        if !shared {
            self.inner.cgroups.kill(&cgroup).map_err(internal)?;
            self.inner.remove_cgroup(&cgroup).await.map_err(internal)?;
        }
        discard(&sandbox.directory)?;
        self.inner.sandboxes.write().remove(id);
        Ok(())
    }
}

/// Where a sandbox's control group is: below the instance's, whether the caller's parent says so or not.
fn cgroup_path(root: &str, parent: &str, id: &str) -> String {
    let parent = parent.trim_matches('/');
    let below = parent.strip_prefix(root.trim_matches('/')).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    match below.unwrap_or(parent).trim_matches('/') {
        "" => format!("{root}/{id}"),
        parent => format!("{root}/{parent}"),
    }
}

/// Removes a sandbox's directory with whatever is still mounted in it.
pub(crate) fn discard(directory: &Path) -> Result<(), CriError> {
    // Before anything is deleted: what is mounted is not always ours to empty.
    sys::mount::unmount_below(directory).map_err(internal)?;
    match fs::remove_dir_all(directory) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(internal(e)),
        _ => Ok(()),
    }
}

/// CRI's resources as limits of a control group.
pub(crate) fn limits(resources: &v1::LinuxContainerResources) -> Limits {
    let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    Limits {
        cpu_shares: u64::try_from(resources.cpu_shares).ok().filter(|shares| *shares > 0),
        cpu_quota: Some(resources.cpu_quota).filter(|quota| *quota != 0),
        cpu_period: u64::try_from(resources.cpu_period).ok().filter(|period| *period > 0),
        memory: Some(resources.memory_limit_in_bytes).filter(|limit| *limit != 0),
        pids: None,
        cpuset_cpus: text(&resources.cpuset_cpus),
        cpuset_mems: text(&resources.cpuset_mems),
    }
}

fn pin_namespaces(sandbox: &Sandbox) -> Result<(), CriError> {
    let options = sandbox.options();
    let mut kinds = Vec::new();
    if options.network != NODE {
        kinds.extend([Kind::Net, Kind::Uts]);
    }
    if options.ipc != NODE {
        kinds.push(Kind::Ipc);
    }
    let sysctls = sandbox.config.linux.iter().flat_map(|linux| &linux.sysctls);
    let mut sysctls: Vec<(String, String)> = sysctls.map(|(name, value)| (name.clone(), value.clone())).collect();
    if options.network != NODE {
        let usual = SYSCTLS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        sysctls.splice(0..0, usual);
    }
    if kinds.is_empty() {
        return Ok(());
    }
    namespace::pin(&kinds, &sandbox.directory.join("ns"), &sandbox.config.hostname, &sysctls).map_err(internal)
}

/// Files and memory that the sandbox's containers share.
fn files(sandbox: &Sandbox) -> io::Result<()> {
    let at = |name: &str| sandbox.directory.join(name);
    match &sandbox.config.dns_config {
        Some(dns) => fs::write(at("resolv.conf"), resolv_conf(dns))?,
        None if Path::new("/etc/resolv.conf").exists() => drop(fs::copy("/etc/resolv.conf", at("resolv.conf"))?),
        None => fs::write(at("resolv.conf"), "")?,
    }
    let hostname = match sandbox.config.hostname.as_str() {
        "" => fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned(),
        name => name.to_owned(),
    };
    fs::write(at("hostname"), format!("{hostname}\n"))?;
    for name in ["resolv.conf", "hostname"] {
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o644))?;
    }
    if sandbox.options().ipc != NODE {
        fs::create_dir_all(at("shm"))?;
        sys::mount::tmpfs(&at("shm"), 0o1777, Some(64 << 20)).map_err(io::Error::other)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_groups_stay_below_the_instances() {
        let path = |parent| cgroup_path("/ox", parent, "id");
        assert_eq!(path("/kubepods/pod1"), "/ox/kubepods/pod1");
        assert_eq!(path("/ox/kubepods/pod1"), "/ox/kubepods/pod1");
        assert_eq!(path("/oxen/pod1"), "/ox/oxen/pod1");
        assert_eq!((path(""), path("/ox")), ("/ox/id".to_owned(), "/ox/id".to_owned()));
    }
}
