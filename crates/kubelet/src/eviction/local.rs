//! Limits of a pod's own on what it keeps on the node's disk: of `emptyDir` volumes and of containers.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use k8s_openapi::api::core::v1::{Pod, Volume};

use crate::podlife::Verdict;
use crate::{qos, quantity, spec};

const STORAGE: &str = "ephemeral-storage";

/// What a pod has on the node's disk, in bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct OnDisk {
    /// By name of volume.
    pub(crate) volumes: HashMap<String, i64>,
    /// By name of container: what it wrote, logs included.
    pub(crate) containers: HashMap<String, i64>,
    /// Files and folders of its volumes.
    pub(crate) inodes: i64,
}

impl OnDisk {
    pub(crate) fn total(&self) -> i64 {
        self.volumes.values().chain(self.containers.values()).sum()
    }
}

/// Volumes that are folders on the node's disk.
pub(crate) fn folders(pod: &Pod) -> impl Iterator<Item = &Volume> {
    let on_disk =
        |volume: &&Volume| volume.empty_dir.as_ref().is_some_and(|dir| dir.medium.as_deref() != Some("Memory"));
    spec::pod_spec(pod).volumes.iter().flatten().filter(on_disk)
}

/// Whether there is any limit to look after.
pub(crate) fn is_limited(pod: &Pod) -> bool {
    let volume = folders(pod).any(|volume| volume.empty_dir.as_ref().is_some_and(|dir| dir.size_limit.is_some()));
    volume || spec::containers(pod).iter().any(|entry| qos::limit(&entry.container, STORAGE).is_some())
}

/// Why the pod has to go, if it is over a limit.
pub(crate) fn exceeded(pod: &Pod, used: &OnDisk) -> Option<Verdict> {
    let message = over_volume(pod, used).or_else(|| over_container(pod, used)).or_else(|| over_pod(pod, used))?;
    Some(Verdict { reason: super::EVICTED.to_owned(), message, grace_seconds: Some(1), disruption: false })
}

fn over_volume(pod: &Pod, used: &OnDisk) -> Option<String> {
    folders(pod).find_map(|volume| {
        let limit = volume.empty_dir.as_ref()?.size_limit.as_ref()?;
        let over = *used.volumes.get(&volume.name)? > quantity::value(limit).filter(|limit| *limit > 0)?;
        over.then(|| format!("Usage of EmptyDir volume \"{}\" exceeds the limit \"{}\". ", volume.name, limit.0))
    })
}

fn over_container(pod: &Pod, used: &OnDisk) -> Option<String> {
    spec::containers(pod).iter().find_map(|entry| {
        let limit = qos::limit(&entry.container, STORAGE)?;
        let over = *used.containers.get(entry.name())? > quantity::value(limit)?;
        let name = entry.name();
        over.then(|| format!("Container {name} exceeded its local ephemeral storage limit \"{}\". ", limit.0))
    })
}

fn over_pod(pod: &Pod, used: &OnDisk) -> Option<String> {
    let limits: Vec<i64> = spec::pod_spec(pod)
        .containers
        .iter()
        .filter_map(|container| qos::limit(container, STORAGE).and_then(quantity::value))
        .collect();
    let limit: i64 = limits.iter().sum();
    (!limits.is_empty() && used.total() > limit)
        .then(|| format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "))
}

/// Bytes and inodes below a folder; what vanishes meanwhile is not counted.
pub(crate) fn usage(folder: &Path) -> (i64, i64) {
    let (mut bytes, mut inodes) = (0_i64, 0_i64);
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            inodes += 1;
            bytes = bytes.saturating_add(i64::try_from(meta.blocks().saturating_mul(512)).unwrap_or(i64::MAX));
            if meta.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    (bytes, inodes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_limit_has_its_sentence() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}, {"name": "free", "emptyDir": {}},
                {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}],
            "containers": [{"name": "c", "resources": {"limits": {"ephemeral-storage": "4Mi"}}}, {"name": "d"}]}}))
        .unwrap();
        let told = |volumes: &[(&str, i64)], containers: &[(&str, i64)]| {
            let map = |list: &[(&str, i64)]| list.iter().map(|(name, mi)| ((*name).to_owned(), mi << 20)).collect();
            let used = OnDisk { volumes: map(volumes), containers: map(containers), inodes: 0 };
            exceeded(&pod, &used).map(|verdict| verdict.message).unwrap_or_default()
        };
        assert!(is_limited(&pod));
        assert_eq!(
            told(&[("v", 1), ("m", 9)], &[("c", 3)][..0]),
            "Pod ephemeral local storage usage exceeds the total limit of containers 4194304. "
        );
        assert_eq!(told(&[("v", 1), ("free", 1)], &[("c", 2)]), "");
        assert_eq!(told(&[("v", 2)], &[]), "Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ");
        assert_eq!(told(&[], &[("c", 5)]), "Container c exceeded its local ephemeral storage limit \"4Mi\". ");
        assert_eq!(
            told(&[("free", 3)], &[("c", 2)]),
            "Pod ephemeral local storage usage exceeds the total limit of containers 4194304. "
        );
    }

    #[test]
    fn a_folder_is_measured_with_all_below_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        std::fs::write(folder.path().join("a/b"), vec![1_u8; 100_000]).unwrap();
        let (bytes, inodes) = usage(folder.path());
        assert!((100_000..200_000).contains(&bytes), "{bytes}");
        assert_eq!(inodes, 2);
    }
}
