//! The container that CRI is asked for.

use std::path::{Path, PathBuf};

use cri::v1::{
    ContainerConfig, ContainerMetadata, Image, ImageSpec, KeyValue, LinuxContainerConfig, Mount, MountPropagation,
};
use k8s_openapi::api::core::v1::{Pod, Volume, VolumeMount};

use super::start::Start;
use crate::config::Config;
use crate::container::env::{self, Sources};
use crate::container::{ImageUser, container_security, labels, linux_resources};
use crate::services::Service;
use crate::spec::{self, Entry};
use crate::start_error::StartError;
use crate::volumes::subpath;

pub(super) fn hosts_path(config: &Config, pod: &Pod) -> PathBuf {
    config.pod_dir(spec::uid(pod)).join("etc-hosts")
}

/// The file of a container's last words.
pub(super) fn last_words_path(config: &Config, pod: &Pod, name: &str, attempt: u32) -> PathBuf {
    config.pod_dir(spec::uid(pod)).join("containers").join(name).join(attempt.to_string())
}

pub(crate) fn log_path(name: &str, attempt: u32) -> String {
    format!("{name}/{attempt}.log")
}

fn config_error(message: impl Into<String>) -> StartError {
    StartError::new("CreateContainerConfigError", message)
}

pub(super) async fn config(
    start: &Start,
    entry: &Entry<'_>,
    image: &Image,
    sources: &Sources,
    services: &[Service],
) -> Result<ContainerConfig, StartError> {
    let (pod, container) = (&*start.pod, &*entry.container);
    let context = env::Context { sources, services, addresses: &start.addresses, node: &start.context.allocatable };
    let variables = env::variables(pod, container, &context).map_err(config_error)?;
    let lookup = |name: &str| variables.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
    let expand = |list: &Option<Vec<String>>| -> Vec<String> {
        list.iter().flatten().map(|text| env::expand(text, lookup)).collect()
    };
    let user = ImageUser { uid: image.uid.as_ref().map(|uid| uid.value), name: image.username.clone() };
    let security = container_security(pod, entry, &user, start.target_id.clone())
        .map_err(|error| config_error(error.to_string()))?;
    let resources = linux_resources(pod, container, start.context.memory_capacity);
    let name = container.name.clone();
    let reference = container.image.clone().unwrap_or_default();
    Ok(ContainerConfig {
        metadata: Some(ContainerMetadata { name: name.clone(), attempt: start.attempt }),
        image: Some(ImageSpec { image: image.id.clone(), user_specified_image: reference, ..Default::default() }),
        command: expand(&container.command),
        args: expand(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        mounts: mounts(start, entry, &lookup).await?,
        envs: variables.iter().map(|(key, value)| KeyValue { key: key.clone(), value: value.clone() }).collect(),
        labels: labels::container(pod, &name),
        annotations: labels::annotations(pod, container, start.attempt),
        log_path: log_path(&name, start.attempt),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        tty: container.tty.unwrap_or(false),
        linux: Some(LinuxContainerConfig { resources: Some(resources), security_context: Some(security) }),
        ..Default::default()
    })
}

async fn mounts(
    start: &Start,
    entry: &Entry<'_>,
    lookup: &impl Fn(&str) -> Option<String>,
) -> Result<Vec<Mount>, StartError> {
    let mut mounts = Vec::new();
    for (index, volume_mount) in entry.container.volume_mounts.iter().flatten().enumerate() {
        mounts.push(volume(start, entry, index, volume_mount, lookup).await?);
    }
    let config = &start.context.config;
    let has = |mounts: &[Mount], path: &str| mounts.iter().any(|mount| mount.container_path == path);
    if !has(&mounts, "/etc/hosts") {
        mounts.push(bind("/etc/hosts", &hosts_path(config, &start.pod)));
    }
    let words = last_words_path(config, &start.pod, entry.name(), start.attempt);
    let failed = |error: std::io::Error| config_error(format!("{}: {error}", words.display()));
    if let Some(parent) = words.parent() {
        tokio::fs::create_dir_all(parent).await.map_err(failed)?;
    }
    tokio::fs::write(&words, b"").await.map_err(failed)?;
    // Whatever user the container runs as may leave its last words.
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    tokio::fs::set_permissions(&words, everybody).await.map_err(failed)?;
    mounts.push(bind(labels::message_path(&entry.container), &words));
    Ok(mounts)
}

fn bind(container_path: &str, host_path: &Path) -> Mount {
    Mount {
        container_path: container_path.to_owned(),
        host_path: host_path.to_string_lossy().into_owned(),
        ..Default::default()
    }
}

fn claimed_read_only(volume: &Volume) -> bool {
    volume.persistent_volume_claim.as_ref().is_some_and(|claim| claim.read_only == Some(true))
}

async fn volume(
    start: &Start,
    entry: &Entry<'_>,
    index: usize,
    mount: &VolumeMount,
    lookup: &impl Fn(&str) -> Option<String>,
) -> Result<Mount, StartError> {
    let name = &mount.name;
    let unknown = || config_error(format!("no volume {name:?} in the pod"));
    let host = start.context.volumes.find(&start.pod, &start.kept, name).ok_or_else(unknown)?;
    let sub_path = match (&mount.sub_path_expr, &mount.sub_path) {
        (Some(expression), _) if !expression.is_empty() => env::expand(expression, lookup),
        (_, Some(path)) => path.clone(),
        _ => String::new(),
    };
    let of_pod = spec::pod_spec(&start.pod).volumes.iter().flatten().find(|volume| volume.name == *name);
    let image = of_pod
        .and_then(|volume| volume.image.as_ref())
        .map(|source| ImageSpec { image: source.reference.clone().unwrap_or_default(), ..Default::default() });
    if image.is_some() && !sub_path.is_empty() {
        return Err(config_error("subPath of a volume that is an image is not supported yet".to_owned()));
    }
    let host = if sub_path.is_empty() {
        host
    } else {
        let place = start.context.config.pod_dir(spec::uid(&start.pod)).join("volume-subpaths").join(name);
        let place = place.join(entry.name()).join(index.to_string());
        let prepared = tokio::task::spawn_blocking(move || subpath::prepare(&host, &sub_path, &place)).await;
        prepared.unwrap_or_else(|error| Err(error.to_string())).map_err(config_error)?
    };
    let path = &mount.mount_path;
    let container_path = if path.starts_with('/') { path.clone() } else { format!("/{path}") };
    let propagation = match mount.mount_propagation.as_deref() {
        Some("HostToContainer") => MountPropagation::PropagationHostToContainer,
        Some("Bidirectional") => MountPropagation::PropagationBidirectional,
        _ => MountPropagation::PropagationPrivate,
    };
    Ok(Mount {
        readonly: mount.read_only == Some(true) || image.is_some() || of_pod.is_some_and(claimed_read_only),
        propagation: propagation as i32,
        image,
        ..bind(&container_path, &host)
    })
}
