//! Pods' control groups, where the engine leaves them to the kubelet.

use std::time::Duration;

use cri::v1::LinuxContainerResources;
use k8s_openapi::api::core::v1::Pod;
use sys::cgroup::{Cgroups, Limits};

use crate::config::Config;
use crate::sandbox;

/// Makes the pod's group with the limits of the whole pod. Blocks.
pub(crate) fn create(pod: &Pod, config: &Config, node_memory: i64) -> Result<(), String> {
    let (cgroups, group) = (Cgroups::detect().map_err(text)?, sandbox::cgroup_parent(pod, config));
    let limits = limits(&sandbox::sum(pod, node_memory));
    cgroups.create(&group).and_then(|()| cgroups.limit(&group, &limits)).map_err(text)
}

/// Gives the pod's group other limits. Blocks.
pub(crate) fn limit(pod: &Pod, config: &Config, resources: &LinuxContainerResources) -> Result<(), String> {
    let (cgroups, group) = (Cgroups::detect().map_err(text)?, sandbox::cgroup_parent(pod, config));
    cgroups.limit(&group, &limits(resources)).map_err(text)
}

fn limits(resources: &LinuxContainerResources) -> Limits {
    Limits {
        cpu_shares: u64::try_from(resources.cpu_shares).ok().filter(|shares| *shares > 0),
        cpu_quota: Some(resources.cpu_quota).filter(|quota| *quota != 0),
        cpu_period: u64::try_from(resources.cpu_period).ok().filter(|period| *period > 0),
        memory: Some(resources.memory_limit_in_bytes).filter(|limit| *limit != 0),
        ..Limits::default()
    }
}

/// Removes the pod's group, as soon as the last processes in it are gone.
pub(crate) async fn remove(pod: &Pod, config: &Config) -> Result<(), String> {
    let (cgroups, group) = (Cgroups::detect().map_err(text)?, sandbox::cgroup_parent(pod, config));
    for _ in 0..100 {
        match cgroups.remove(&group) {
            Err(e) if e.source.kind() == std::io::ErrorKind::ResourceBusy => {
                // Version 1 has no event for "empty".
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            removed => return removed.map_err(text),
        }
    }
    cgroups.remove(&group).map_err(text)
}

fn text(error: sys::SysError) -> String {
    error.to_string()
}
