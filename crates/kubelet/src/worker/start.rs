//! Starts sandboxes and containers.

use std::sync::Arc;
use std::time::Duration;

use cri::v1::{CreateContainerRequest, RunPodSandboxRequest};
use k8s_openapi::api::core::v1::Pod;

use super::{build, hooks};
use crate::container::Addresses;
use crate::container::env::{self, Sources};
use crate::context::Context;
use crate::record::ContainerEvents;
use crate::spec::{self, Entry};
use crate::start_error::StartError;
use crate::volumes::Kept;
use crate::{cgroups, dns, hosts, sandbox};

/// How long a start waits for the first list of services.
const SERVICES: Duration = Duration::from_secs(10);

pub(super) async fn run_sandbox(context: &Context, pod: &Pod, attempt: u32, old: &[String]) -> Result<(), String> {
    // What an earlier sandbox holds (its network above all) is given back first.
    for id in old {
        context.engine.stop_pod_sandbox(id).await.map_err(|error| error.to_string())?;
    }
    let config = sandbox_config(context, pod, attempt);
    let logs = config.log_directory.clone();
    tokio::fs::create_dir_all(&logs).await.map_err(|error| format!("{logs}: {error}"))?;
    if context.config.cgroups_per_qos {
        let (pod, config, memory) = (pod.clone(), Arc::clone(&context.config), context.memory_capacity);
        let made = tokio::task::spawn_blocking(move || cgroups::create(&pod, &config, memory)).await;
        made.unwrap_or_else(|error| Err(error.to_string()))?;
    }
    let runtime_handler = runtime_handler(context, pod).await?;
    let request = RunPodSandboxRequest { config: Some(config), runtime_handler };
    context.engine.run_pod_sandbox(request).await.map(|_| ()).map_err(|error| error.to_string())
}

async fn runtime_handler(context: &Context, pod: &Pod) -> Result<String, String> {
    let class = spec::pod_spec(pod).runtime_class_name.as_deref().filter(|name| !name.is_empty());
    match class {
        None => Ok(String::new()),
        Some(name) => match context.objects.runtime_class(name).await {
            Ok(Some(class)) => Ok(class.handler),
            Ok(None) => Err(format!("RuntimeClass \"{name}\" not found")),
            Err(error) => Err(error.message()),
        },
    }
}

fn sandbox_config(context: &Context, pod: &Pod, attempt: u32) -> cri::v1::PodSandboxConfig {
    let dns = dns::config(pod, &context.config, &context.host_dns());
    sandbox::config(pod, &context.config, dns, attempt, context.memory_capacity)
}

/// One start of one container.
pub(super) struct Start {
    pub(super) context: Arc<Context>,
    pub(super) pod: Arc<Pod>,
    pub(super) kept: Arc<Kept>,
    pub(super) sandbox_id: String,
    pub(super) addresses: Addresses,
    pub(super) target_id: Option<String>,
    pub(super) attempt: u32,
}

impl Start {
    pub(super) async fn run(self, name: &str) -> Result<(), StartError> {
        let pod = Arc::clone(&self.pod);
        let Some(entry) = spec::find(&pod, name) else { return Ok(()) };
        let context = Arc::clone(&self.context);
        let events = ContainerEvents::new(&context.recorder, &pod, &entry);
        let sandbox = sandbox_config(&context, &pod, 0);
        let (image, sources) =
            tokio::join!(context.images.ensure(&pod, &entry, &sandbox, &events), self.sources(&entry));
        let told = |error: StartError| {
            events.warning("Failed", format!("Error: {}", summary(&error)));
            error
        };
        let image = image.map_err(told)?;
        context.images.ensure_volumes(&pod, &entry, &sandbox, &events).await.map_err(told)?;
        let sources = sources.map_err(told)?;
        if tokio::time::timeout(SERVICES, context.services.synced()).await.is_err() {
            let message = "services have not yet been read at least once, cannot construct envvars";
            return Err(told(StartError::new("CreateContainerConfigError", message)));
        }
        self.write_hosts().await.map_err(told)?;
        let services = context.services.list();
        let services: Vec<_> = services.iter().map(|service| (**service).clone()).collect();
        let config = build::config(&self, &entry, &image, &sources, &services).await.map_err(told)?;
        let request = CreateContainerRequest {
            pod_sandbox_id: self.sandbox_id.clone(),
            config: Some(config),
            sandbox_config: Some(sandbox),
        };
        let created = context.engine.create_container(request).await;
        let id = created.map_err(|error| told(StartError::new("CreateContainerError", error.to_string())))?;
        events.normal("Created", "Container created");
        let started = context.engine.start_container(&id).await;
        started.map_err(|error| told(StartError::new("RunContainerError", error.to_string())))?;
        events.normal("Started", "Container started");
        self.post_start(&entry, &id, &events).await
    }

    async fn post_start(&self, entry: &Entry<'_>, id: &str, events: &ContainerEvents<'_>) -> Result<(), StartError> {
        let Some(hook) = entry.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref()) else {
            return Ok(());
        };
        let ip = self.addresses.pod.first().map(String::as_str);
        let Err(error) = hooks::run(&self.context, entry, hook, id, ip).await else { return Ok(()) };
        events.warning("FailedPostStartHook", format!("PostStartHook failed: {error}"));
        events.normal("Killing", "FailedPostStartHook");
        if let Err(error) = self.context.engine.stop_container(id, 2).await {
            tracing::warn!(%error, id, "container not stopped after its failed hook");
        }
        Err(StartError::new("PostStartHookError", error).after(Duration::ZERO))
    }

    /// The ConfigMaps and Secrets of the container's variables; those that do not exist are left out.
    async fn sources(&self, entry: &Entry<'_>) -> Result<Sources, StartError> {
        let (config_maps, secrets) = env::references(&entry.container);
        let namespace = spec::namespace(&self.pod);
        let failed = |message: String| StartError::new("CreateContainerConfigError", message);
        let mut sources = Sources::default();
        for name in config_maps {
            let found = self.context.objects.config_map(namespace, &name).await;
            if let Some(found) = found.map_err(|error| failed(error.message()))? {
                sources.config_maps.insert(name, found.data.unwrap_or_default());
            }
        }
        for name in secrets {
            let found = self.context.objects.secret(namespace, &name).await;
            if let Some(found) = found.map_err(|error| failed(error.message()))? {
                let data = found.data.into_iter().flatten().map(|(key, value)| (key, value.0));
                sources.secrets.insert(name, data.collect());
            }
        }
        Ok(sources)
    }

    /// The pod's `/etc/hosts`.
    async fn write_hosts(&self) -> Result<(), StartError> {
        let config = &self.context.config;
        let path = build::hosts_path(config, &self.pod);
        let failed = |error: std::io::Error| StartError::new("CreateContainerConfigError", error.to_string());
        let node = if spec::is_host_network(&self.pod) {
            tokio::fs::read_to_string("/etc/hosts").await.unwrap_or_default()
        } else {
            String::new()
        };
        let text = hosts::content(&self.pod, config, &self.addresses.pod, &node);
        if let Some(parent) = path.parent() {
            tokio::fs::create_dir_all(parent).await.map_err(failed)?;
        }
        if tokio::fs::read_to_string(&path).await.is_ok_and(|present| present == text) {
            return Ok(());
        }
        tokio::fs::write(&path, text).await.map_err(failed)
    }
}

fn summary(error: &StartError) -> String {
    match error.reason {
        "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" => error.reason.to_owned(),
        _ => error.message.clone(),
    }
}
