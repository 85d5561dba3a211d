//! What a kubelet tells of itself and of its pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use cri::v1::{ContainerStats, UInt64Value};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Service;
use super::answer::{self, Answer, Refusal};
use super::host;
use crate::container::labels;

pub(super) fn pods(service: &Arc<Service>) -> Result<Answer, Refusal> {
    let items: Vec<Value> = service
        .pods
        .list()
        .iter()
        .map(|pod| serde_json::to_value(&**pod).map_err(Refusal::internal))
        .collect::<Result<_, _>>()?;
    answer::json(&json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}))
}

pub(super) fn configz(service: &Arc<Service>) -> Result<Answer, Refusal> {
    let config = &service.context.config;
    answer::json(&json!({"kubeletconfig": {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "maxPods": config.max_pods,
        "clusterDNS": config.cluster_dns,
        "clusterDomain": config.cluster_domain,
        "cgroupDriver": config.cgroup_driver,
        "evictionHard": config.eviction_hard,
        "port": config.address.port(),
        "resolvConf": config.resolv_conf,
    }}))
}

pub(super) async fn metrics(service: &Arc<Service>) -> Result<Answer, Refusal> {
    let pods = service.pods.list().len();
    let containers = service.context.engine.list_containers(None).await?;
    let mut by_state: BTreeMap<&str, usize> = BTreeMap::new();
    for container in containers {
        let state = match container.state {
            0 => "created",
            1 => "running",
            2 => "exited",
            _ => "unknown",
        };
        *by_state.entry(state).or_default() += 1;
    }
    let mut text = format!(
        "# HELP kubelet_running_pods Number of pods that have a running pod sandbox\n# TYPE kubelet_running_pods \
         gauge\nkubelet_running_pods {pods}\n# HELP kubelet_running_containers Number of containers currently \
         running\n# TYPE kubelet_running_containers gauge\n"
    );
    for (state, count) in by_state {
        text.push_str(&format!("kubelet_running_containers{{container_state=\"{state}\"}} {count}\n"));
    }
    Ok(answer::text(StatusCode::OK, &text))
}

fn number(value: Option<&UInt64Value>) -> u64 {
    value.map_or(0, |value| value.value)
}

fn cpu_and_memory(stats: &ContainerStats) -> (Value, Value) {
    let cpu = stats.cpu.unwrap_or_default();
    let memory = stats.memory.unwrap_or_default();
    let time = |nanoseconds: i64| Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or_default().to_string();
    (
        json!({
            "time": time(cpu.timestamp),
            "usageNanoCores": number(cpu.usage_nano_cores.as_ref()),
            "usageCoreNanoSeconds": number(cpu.usage_core_nano_seconds.as_ref()),
        }),
        json!({
            "time": time(memory.timestamp),
            "usageBytes": number(memory.usage_bytes.as_ref()),
            "workingSetBytes": number(memory.working_set_bytes.as_ref()),
            "rssBytes": number(memory.rss_bytes.as_ref()),
        }),
    )
}

/// Upstream's summary, as far as the engine's figures go.
pub(super) async fn summary(service: &Arc<Service>) -> Result<Answer, Refusal> {
    let stats = service.context.engine.list_container_stats(None).await?;
    let mut pods: BTreeMap<String, (Value, Vec<Value>)> = BTreeMap::new();
    for one in &stats {
        let attributes = one.attributes.clone().unwrap_or_default();
        let label = |key: &str| attributes.labels.get(key).cloned().unwrap_or_default();
        let reference = json!({
            "name": label(labels::POD_NAME), "namespace": label(labels::POD_NAMESPACE), "uid": label(labels::POD_UID),
        });
        let (cpu, memory) = cpu_and_memory(one);
        let container = json!({"name": label(labels::CONTAINER_NAME), "cpu": cpu, "memory": memory});
        pods.entry(label(labels::POD_UID)).or_insert_with(|| (reference, Vec::new())).1.push(container);
    }
    let pods: Vec<Value> = pods
        .into_values()
        .map(|(reference, containers)| json!({"podRef": reference, "containers": containers}))
        .collect();
    let (cpu, memory) = host::figures(Timestamp::now());
    let node = json!({"nodeName": service.context.config.node_name, "cpu": cpu, "memory": memory});
    answer::json(&json!({"node": node, "pods": pods}))
}
