//! `/stats/summary`: upstream's summary, as far as the engine's figures go.

use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::usage::{ContainerUsage, PodUsage, Usage};
use crate::config::Config;

fn cpu(usage: &Usage) -> Value {
    let mut cpu = json!({"time": usage.time.to_string(), "usageCoreNanoSeconds": usage.cpu});
    if let (Some(rate), Some(fields)) = (usage.rate, cpu.as_object_mut()) {
        fields.insert("usageNanoCores".to_owned(), rate.into());
    }
    cpu
}

fn memory(usage: &Usage) -> Value {
    json!({
        "time": usage.time.to_string(),
        "usageBytes": usage.memory,
        "workingSetBytes": usage.working_set,
        "rssBytes": usage.rss,
        "pageFaults": usage.page_faults,
        "majorPageFaults": usage.major_page_faults,
    })
}

/// A file system; null when it cannot be asked.
fn file_system(path: &Path) -> Value {
    let Ok(stat) = nix::sys::statvfs::statvfs(path) else { return Value::Null };
    let (size, all, free) = (stat.fragment_size(), stat.blocks(), stat.blocks_free());
    json!({
        "time": Timestamp::now().to_string(),
        "availableBytes": stat.blocks_available() * size,
        "capacityBytes": all * size,
        "usedBytes": all.saturating_sub(free) * size,
        "inodesFree": stat.files_free(),
        "inodes": stat.files(),
        "inodesUsed": stat.files().saturating_sub(stat.files_free()),
    })
}

fn container(one: &ContainerUsage) -> Value {
    let mut container = json!({"name": one.name, "cpu": cpu(&one.usage), "memory": memory(&one.usage)});
    let more = [
        ("startTime", one.started.map(|time| json!(time.to_string()))),
        ("rootfs", one.written.map(|bytes| json!({"time": one.usage.time.to_string(), "usedBytes": bytes}))),
    ];
    if let Some(fields) = container.as_object_mut() {
        fields.extend(more.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    }
    container
}

fn pod(pod: &PodUsage) -> Value {
    let total = pod.total();
    let started = pod.containers.iter().filter_map(|container| container.started).min();
    json!({
        "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "startTime": started.map(|time| time.to_string()),
        "containers": pod.containers.iter().map(container).collect::<Vec<_>>(),
        "cpu": cpu(&total),
        "memory": memory(&total),
    })
}

pub(super) fn document(config: &Config, node: &Usage, pods: &[PodUsage]) -> Value {
    let files = file_system(&config.root_dir);
    json!({
        "node": {
            "nodeName": config.node_name,
            "cpu": cpu(node),
            "memory": memory(node),
            "fs": files,
            "runtime": {"imageFs": files, "containerFs": files},
        },
        "pods": pods.iter().map(pod).collect::<Vec<_>>(),
    })
}
