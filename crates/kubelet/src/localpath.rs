//! The folders of local volumes: where this node keeps them, and their removal once their volume is deleted.
//!
//! The provisioner makes and deletes the volumes; until the folder is gone, a finalizer holds a deleted one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::{Informer, Informers, Outcome, Reconciler, Runner, Selection, write};
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// On a Node: where it keeps such folders.
pub(crate) const FOLDER: &str = "local-path.oxikube.io/folder";
/// On a volume: the node that has the folder.
const NODE: &str = "local-path.oxikube.io/node";
const FINALIZER: &str = "oxikube.io/local-path";

/// What this node has to do for a volume of its own.
#[derive(Debug, PartialEq, Eq)]
enum Duty {
    None,
    Remove(PathBuf),
    /// The path is not below this node's folder: nothing there is touched.
    Foreign(PathBuf),
}

/// Pure.
fn duty(volume: &PersistentVolume, root: &Path) -> Duty {
    let meta = &volume.metadata;
    let held = meta.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
    let bound = volume.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Bound"));
    let Some(spec) = volume.spec.as_ref().filter(|_| held && !bound && meta.deletion_timestamp.is_some()) else {
        return Duty::None;
    };
    if spec.persistent_volume_reclaim_policy.as_deref() != Some("Delete") {
        return Duty::None;
    }
    let Some(path) = spec.local.as_ref().map(|local| PathBuf::from(&local.path)) else { return Duty::None };
    if is_own(&path, root) { Duty::Remove(path) } else { Duty::Foreign(path) }
}

/// Whether a path is directly in this node's folder of local volumes.
pub(crate) fn is_own(path: &Path, root: &Path) -> bool {
    let plain = path.components().all(|part| !matches!(part, std::path::Component::ParentDir));
    plain && path.parent() == Some(root) && path.file_name().is_some()
}

struct LocalPath {
    context: Arc<Context>,
    root: PathBuf,
    volumes: Informer<PersistentVolume>,
}

/// Removes folders until shutdown.
pub(crate) async fn run(context: Arc<Context>, informers: Informers, shutdown: CancellationToken) {
    let Some(root) = context.config.local_path_dir.clone() else { return };
    let mine = Selection::labels(format!("{NODE}={}", context.config.node_name));
    let volumes = informers.select::<PersistentVolume>(mine);
    let runner = Runner::new(Arc::new(LocalPath { context, root, volumes: volumes.clone() }), 1)
        .watch(&volumes, |volume: &PersistentVolume| volume.metadata.name.clone());
    runner.run(shutdown).await;
}

impl Reconciler for LocalPath {
    type Key = String;
    type Error = String;

    fn name(&self) -> &'static str {
        "local-path"
    }

    async fn reconcile(&self, key: &String) -> Result<Outcome, String> {
        let Some(volume) = self.volumes.get("", key) else { return Ok(Outcome::Done) };
        match duty(&volume, &self.root) {
            Duty::None => {}
            Duty::Foreign(path) => {
                let message = format!(
                    "{} is not a folder of this node's local volumes: remove it by hand, then the finalizer {FINALIZER}",
                    path.display()
                );
                self.context.recorder.warning(&client::reference(&*volume), "VolumeFailedDelete", message);
            }
            Duty::Remove(path) => {
                let removed = tokio::task::spawn_blocking(move || remove(&path)).await;
                removed.map_err(|error| error.to_string())??;
                self.let_go(&volume, key).await?;
            }
        }
        Ok(Outcome::Done)
    }
}

fn remove(path: &Path) -> Result<(), String> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {error}", path.display())),
        _ => Ok(()),
    }
}

impl LocalPath {
    async fn let_go(&self, volume: &PersistentVolume, name: &str) -> Result<(), String> {
        let mut kept = volume.metadata.finalizers.clone().unwrap_or_default();
        kept.retain(|finalizer| finalizer != FINALIZER);
        let version = &volume.metadata.resource_version;
        let patch = json!({"metadata": {"resourceVersion": version, "finalizers": kept}});
        let api = Api::<PersistentVolume>::all(self.context.client.clone());
        match api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Err(error) if !write::is_not_found(&error) => Err(error.to_string()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(path: &str, policy: &str, phase: &str, deleted: bool) -> PersistentVolume {
        let at = deleted.then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(json!({"metadata": {"name": "v", "finalizers": [FINALIZER], "deletionTimestamp": at},
            "spec": {"persistentVolumeReclaimPolicy": policy, "local": {"path": path}}, "status": {"phase": phase}}))
        .unwrap()
    }

    #[test]
    fn a_folder_goes_with_its_deleted_volume_only() {
        let root = Path::new("/data/local");
        let rows = [
            (volume("/data/local/v", "Delete", "Released", true), Duty::Remove("/data/local/v".into())),
            (volume("/data/local/v", "Delete", "Released", false), Duty::None),
            (volume("/data/local/v", "Delete", "Bound", true), Duty::None),
            (volume("/data/local/v", "Retain", "Released", true), Duty::None),
        ];
        for (volume, expected) in rows {
            assert_eq!(duty(&volume, root), expected);
        }
    }

    #[test]
    fn nothing_outside_of_the_folder_is_touched() {
        for path in ["/", "/etc", "/data/local", "/data/local/../etc", "/data/local/a/b", "local/v", ""] {
            let duty = duty(&volume(path, "Delete", "Released", true), Path::new("/data/local"));
            assert_eq!(duty, Duty::Foreign(path.into()), "{path}");
        }
    }
}
