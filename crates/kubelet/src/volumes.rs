//! The volumes of pods: made before containers start, kept up to date, taken down when the pod has ended.

mod atomic;
mod claim;
mod directory;
mod mount;
mod payload;
mod plugin;
pub(crate) mod subpath;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Volume};
use parking_lot::Mutex;

use crate::config::Config;
use crate::container::{Addresses, Allocatable};
use crate::objects::{Held, ObjectError, Objects, Token};
use crate::{localpath, spec};
use payload::Payload;
use plugin::Kind;

#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    #[error("MountVolume.SetUp failed for volume {volume:?} : {message}")]
    SetUp { volume: String, message: String },
    #[error("unable to clean up {path}: {source}")]
    CleanUp { path: PathBuf, source: std::io::Error },
}

/// Tokens of one pod, by volume path, so that a refresh does not ask for new ones.
pub(crate) type Tokens = Mutex<HashMap<(Option<String>, i64), Token>>;

/// What a pod's volumes hold on to while it lives.
#[derive(Default)]
pub(crate) struct Kept {
    tokens: Tokens,
    watches: Mutex<Vec<Held>>,
    /// Where volumes are that are not in the pod's own folder, by volume name.
    elsewhere: Mutex<HashMap<String, PathBuf>>,
}

pub(crate) struct Volumes {
    config: Arc<Config>,
    objects: Arc<Objects>,
    /// Claims for one pod at a time: the pod by the claim, both by uid.
    exclusive: Mutex<HashMap<String, String>>,
}

impl Volumes {
    pub(crate) fn new(config: Arc<Config>, objects: Arc<Objects>) -> Self {
        Self { config, objects, exclusive: Mutex::default() }
    }

    /// Makes all volumes of a pod, or brings them up to date. Answers when a token is to be replaced.
    pub(crate) async fn set_up(
        &self,
        pod: &Arc<Pod>,
        kept: &Kept,
        addresses: &Addresses,
        node: &Allocatable,
    ) -> Result<Option<Timestamp>, VolumeError> {
        let list = spec::pod_spec(pod).volumes.as_deref().unwrap_or_default();
        let each = list.iter().map(|volume| self.one(pod, volume, kept, addresses, node));
        futures::future::try_join_all(each).await?;
        Ok(kept.tokens.lock().values().map(|token| token.renew_at).min())
    }

    async fn one(
        &self,
        pod: &Arc<Pod>,
        volume: &Volume,
        kept: &Kept,
        addresses: &Addresses,
        node: &Allocatable,
    ) -> Result<(), VolumeError> {
        let failed = |message: String| VolumeError::SetUp { volume: volume.name.clone(), message };
        let kind = plugin::kind(spec::name(pod), volume).map_err(failed)?;
        let path = self.path(pod, volume);
        let group = fs_group(pod);
        match kind {
            Kind::EmptyDir => {
                let source = volume.empty_dir.clone().unwrap_or_default();
                blocking(move || directory::empty_dir(&path, &source, group)).await.map_err(failed)
            }
            Kind::HostPath(path, check) => {
                kept.elsewhere.lock().insert(volume.name.clone(), path.clone());
                blocking(move || directory::host_path(&path, check.as_deref().unwrap_or_default()))
                    .await
                    .map_err(failed)
            }
            Kind::Claim(claim, own) => self.claim(pod, volume, &claim, own, kept).await.map_err(failed),
            Kind::Image => Ok(()),
            Kind::Payload(sources, in_memory) => {
                let context = payload::Context { objects: &self.objects, pod, tokens: &kept.tokens, addresses, node };
                let payload: Payload = context.collect(&sources).await.map_err(failed)?;
                let in_memory = in_memory && self.config.memory_backed_secrets;
                blocking(move || {
                    directory::payload_dir(&path, in_memory)?;
                    atomic::write(&path, &payload, group).map_err(|error| error.to_string())
                })
                .await
                .map_err(failed)
            }
        }
    }

    async fn claim(&self, pod: &Pod, volume: &Volume, name: &str, own: bool, kept: &Kept) -> Result<(), String> {
        let claim = self.objects.claim(spec::namespace(pod), name).await?;
        let found = claim::volume_name(claim.as_ref(), name, own, pod)?;
        let claim = claim.unwrap_or_default();
        let found = self.objects.volume(&found).await?;
        let source = claim::source(&claim, found.as_ref())?;
        if source.exclusive {
            self.claim_alone(claim.metadata.uid.unwrap_or_default(), spec::uid(pod))?;
        }
        kept.elsewhere.lock().insert(volume.name.clone(), source.path.clone());
        let made_here = self.config.local_path_dir.as_deref().is_some_and(|root| localpath::is_own(&source.path, root));
        let read_only = volume.persistent_volume_claim.as_ref().is_some_and(|source| source.read_only == Some(true));
        let group = fs_group(pod).filter(|_| source.group && !read_only);
        let security = spec::pod_spec(pod).security_context.as_ref();
        let policy = security.and_then(|context| context.fs_group_change_policy.clone());
        blocking(move || {
            if made_here {
                directory::local_path(&source.path)?;
            }
            directory::host_path(&source.path, &source.check)?;
            match group {
                Some(group) => directory::give_to(&source.path, group, policy.as_deref() == Some("OnRootMismatch")),
                None => Ok(()),
            }
        })
        .await
    }

    fn claim_alone(&self, claim: String, pod: &str) -> Result<(), String> {
        let mut exclusive = self.exclusive.lock();
        let holder = exclusive.entry(claim).or_insert_with(|| pod.to_owned());
        if holder == pod {
            return Ok(());
        }
        Err("volume uses the ReadWriteOncePod access mode and is already in use by another pod".to_owned())
    }

    /// Calls back when an object changes that the pod's volumes are made of; as long as `kept` is kept.
    pub(crate) fn watch(&self, pod: &Pod, kept: &Kept, changed: &Arc<dyn Fn() + Send + Sync>) {
        let (mut config_maps, mut secrets) = (HashSet::new(), HashSet::new());
        for volume in spec::pod_spec(pod).volumes.iter().flatten() {
            if let Ok(Kind::Payload(sources, _)) = plugin::kind(spec::name(pod), volume) {
                for source in sources {
                    config_maps.extend(source.config_map.map(|source| source.name));
                    secrets.extend(source.secret.map(|source| source.name));
                }
            }
        }
        let namespace = spec::namespace(pod);
        let config_maps =
            config_maps.iter().map(|name| self.objects.watch_config_map(namespace, name, Arc::clone(changed)));
        let secrets = secrets.iter().map(|name| self.objects.watch_secret(namespace, name, Arc::clone(changed)));
        *kept.watches.lock() = config_maps.chain(secrets).collect();
    }

    /// Where a volume is on the node; none for one that is not in the pod.
    pub(crate) fn find(&self, pod: &Pod, kept: &Kept, name: &str) -> Option<PathBuf> {
        let volume = spec::pod_spec(pod).volumes.iter().flatten().find(|volume| volume.name == name)?;
        Some(kept.elsewhere.lock().get(name).cloned().unwrap_or_else(|| self.path(pod, volume)))
    }

    pub(crate) fn path(&self, pod: &Pod, volume: &Volume) -> PathBuf {
        let folder = plugin::folder(volume);
        self.config.pod_dir(spec::uid(pod)).join("volumes").join(folder).join(&volume.name)
    }

    /// Unmounts everything in a pod's folder and removes it.
    pub(crate) async fn tear_down(&self, uid: &str) -> Result<(), VolumeError> {
        let path = self.config.pod_dir(uid);
        let cleaned = path.clone();
        let done = tokio::task::spawn_blocking(move || remove(&cleaned)).await;
        let done = done.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        done.map_err(|source| VolumeError::CleanUp { path, source })?;
        self.exclusive.lock().retain(|_, pod| pod != uid);
        Ok(())
    }
}

impl From<ObjectError> for String {
    fn from(error: ObjectError) -> Self {
        error.message()
    }
}

fn fs_group(pod: &Pod) -> Option<u32> {
    let group = spec::pod_spec(pod).security_context.as_ref()?.fs_group?;
    u32::try_from(group).ok()
}

/// Takes down the volumes of all pods below a kubelet's folder, mounts first. Only for a node whose containers are
/// gone and whose kubelet does not run.
pub async fn tear_down(root_dir: &Path) -> std::io::Result<()> {
    let pods = root_dir.join("pods");
    let done = tokio::task::spawn_blocking(move || remove(&pods)).await;
    done.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

fn remove(path: &Path) -> std::io::Result<()> {
    mount::unmount_below(path)?;
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

async fn blocking<F>(work: F) -> Result<(), String>
where
    F: FnOnce() -> Result<(), String> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()))
}

/// Folders of pods that have something on the disk.
pub(crate) fn left_over(config: &Config) -> Vec<String> {
    let entries = std::fs::read_dir(config.root_dir.join("pods")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
