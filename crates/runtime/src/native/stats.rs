//! Figures of containers and sandboxes, from their control groups.

use cri::v1;

use super::Native;
use super::state::{Container, Sandbox};
use crate::shared::{cpu, memory, now, value};

impl Native {
    /// None when it does not run.
    pub(crate) fn stats_of(&self, container: &Container) -> Option<v1::ContainerStats> {
        let stats = self.inner.cgroups.stats(&container.cgroup).ok()?;
        let timestamp = now();
        let upper = container.directory.join("upper");
        Some(v1::ContainerStats {
            attributes: Some(v1::ContainerAttributes {
                id: container.id.clone(),
                metadata: container.config.metadata.clone(),
                labels: container.config.labels.clone(),
                annotations: container.config.annotations.clone(),
            }),
            cpu: Some(cpu(&stats, timestamp)),
            memory: Some(memory(&stats, timestamp)),
            writable_layer: Some(v1::FilesystemUsage {
                timestamp,
                fs_id: Some(v1::FilesystemIdentifier { mountpoint: upper.display().to_string() }),
                used_bytes: value(disk_usage(&upper)),
                inodes_used: None,
            }),
            swap: None,
        })
    }

    pub(crate) fn sandbox_stats_of(&self, sandbox: &Sandbox) -> v1::PodSandboxStats {
        let (stats, timestamp) = (self.inner.cgroups.stats(&sandbox.record.lock().cgroup).unwrap_or_default(), now());
        v1::PodSandboxStats {
            attributes: Some(v1::PodSandboxAttributes {
                id: sandbox.id.clone(),
                metadata: sandbox.config.metadata.clone(),
                labels: sandbox.config.labels.clone(),
                annotations: sandbox.config.annotations.clone(),
            }),
            linux: Some(v1::LinuxPodSandboxStats {
                cpu: Some(cpu(&stats, timestamp)),
                memory: Some(memory(&stats, timestamp)),
                network: None,
                process: Some(v1::ProcessUsage { timestamp, process_count: value(stats.processes) }),
                containers: sandbox.containers().iter().filter_map(|container| self.stats_of(container)).collect(),
            }),
            windows: None,
        }
    }
}

/// Bytes that a tree takes on disk.
pub(crate) fn disk_usage(path: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(found) = std::fs::symlink_metadata(path) else { return 0 };
    let own = found.blocks() * 512;
    if !found.is_dir() {
        return own;
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    own + entries.map(|entry| disk_usage(&entry.path())).sum::<u64>()
}
