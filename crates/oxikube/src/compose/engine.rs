//! The container engine of a node: the one that is built in, or one of others with what it needs of this node.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cni::PodNetwork;
use cri::v1::{ImageSpec, RuntimeConfig};
use cri::{CriError, Local, Remote, RuntimeService};
use ipnet::Ipv4Net;
use podnet::PodNet;
use runtime::docker::{self, Docker};
use runtime::native::{self, Native};
use runtime::pause;
use sys::cgroup::Cgroups;

use super::Endpoint;
use super::plugin::Plugin;
use crate::instance::Instance;
use crate::problem::{During, Problem};

/// What an engine that is not of this project needs of its node.
pub(crate) struct Foreign {
    /// Leads it to the pod network, when it calls that by itself.
    plugin: Option<Plugin>,
    /// Image of the process that holds a sandbox.
    sandbox_image: String,
}

/// Opens the engine at `endpoint`.
pub(super) async fn open(
    instance: &Instance,
    endpoint: &Endpoint,
    settings: podnet::Config,
    cgroup: &str,
    network: Arc<PodNet>,
) -> Result<(Arc<dyn Local>, Option<Foreign>), Problem> {
    let program = std::env::current_exe().during("cannot find this program")?;
    match endpoint {
        Endpoint::Native => {
            let engine = Native::open(native::Config {
                dir: instance.root().to_owned(),
                instance: cgroup.to_owned(),
                program,
                network,
                registries: Vec::new(),
            });
            let engine = engine.await.during("cannot open the container engine")?;
            Ok((Arc::new(engine), None))
        }
        Endpoint::Cri(socket) => {
            let remote = Remote::new(socket).during("cannot reach the container engine")?;
            let told = remote.settings().await;
            let told = told.during(format!("cannot reach the container engine at {endpoint}, is it running"))?;
            let version = remote.version().await.during("cannot ask the container engine who it is")?;
            if version.runtime_name == "oxikube" {
                // It brings its own network, and needs no image for sandboxes.
                return Ok((Arc::new(remote), Some(Foreign { plugin: None, sandbox_image: String::new() })));
            }
            let plugin = Plugin::new(told.cni, program, settings);
            let engine = follow_range(remote, network, plugin.clone());
            Ok((Arc::new(engine), Some(Foreign { plugin: Some(plugin), sandbox_image: told.sandbox_image })))
        }
        Endpoint::Docker(socket) => {
            let engine = Docker::open(docker::Config {
                socket: socket.clone(),
                dir: instance.path("docker"),
                instance: settings.instance,
                network,
            });
            let engine = engine.await.during(format!("cannot reach Docker at {endpoint}, is it running"))?;
            Ok((Arc::new(engine), Some(Foreign { plugin: None, sandbox_image: pause::IMAGE.to_owned() })))
        }
    }
}

/// The pod network, and the engine's way to it, are set up when the node gets its address range.
fn follow_range(remote: Remote, network: Arc<PodNet>, plugin: Plugin) -> Remote {
    remote.on_runtime_config(Arc::new(move |config: RuntimeConfig| {
        let (network, plugin) = (network.clone(), plugin.clone());
        Box::pin(async move {
            let Some(cidr) = config.network_config.map(|network| network.pod_cidr) else { return Ok(()) };
            let Some(range) = cidr.split(',').find_map(|part| part.trim().parse::<Ipv4Net>().ok()) else {
                return Ok(());
            };
            let internal = |e: &dyn std::error::Error| CriError::Internal(e.to_string());
            PodNetwork::set_pod_cidr(&*network, &cidr).await.map_err(|e| internal(&e))?;
            let configured = tokio::task::spawn_blocking(move || plugin.configure(range.trunc())).await;
            configured.map_err(|e| internal(&e))?.map_err(|e| internal(&e))
        })
    }))
}

impl Foreign {
    /// Puts the network plugin in its place, and brings the image of sandboxes if it is ours.
    pub(super) async fn prepare(&self, engine: &dyn Local) -> Result<(), Problem> {
        if let Some(plugin) = &self.plugin {
            plugin.install()?;
        }
        if self.sandbox_image.is_empty() {
            return Ok(());
        }
        let spec = ImageSpec { image: self.sandbox_image.clone(), ..ImageSpec::default() };
        let failed = || format!("cannot bring the image {} to the container engine", self.sandbox_image);
        if engine.image_status(spec).await.during(failed())?.is_some() {
            return Ok(());
        }
        if self.sandbox_image != pause::IMAGE {
            tracing::info!(
                image = %self.sandbox_image,
                "the engine will pull its image of sandboxes; without a registry name {} in its configuration",
                pause::IMAGE
            );
            return Ok(());
        }
        let archive = pause::archive().ok_or_else(|| Problem::new("there is no sandbox image for this machine yet"))?;
        let place = tempfile::NamedTempFile::new().during(failed())?;
        std::fs::write(place.path(), archive.during(failed())?).during(failed())?;
        engine.import(place.path()).await.map(drop).during(failed())
    }

    /// Takes away what the pods of a node leave beside their containers.
    pub(super) async fn remove(&self, name: &str) -> Result<(), Problem> {
        if let Some(plugin) = &self.plugin {
            plugin.remove()?;
        }
        let (cgroups, root) = (Cgroups::detect().during("cannot look at control groups")?, format!("/{name}"));
        let mut removed = cgroups.remove(&root);
        // Processes that were killed leave their groups a moment later.
        for _ in 0..200 {
            if removed.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            removed = cgroups.remove(&root);
        }
        removed.during(format!("cannot remove the control group {}", Path::new(&root).display()))
    }
}
