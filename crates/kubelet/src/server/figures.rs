//! What a kubelet tells of itself and of its pods.

mod exposition;
mod summary;
mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::Service;
use super::answer::{self, Answer, Refusal};
pub(super) use usage::Rates;

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

/// Upstream's summary, as far as the engine's figures go.
pub(super) async fn summary(service: &Arc<Service>) -> Result<Answer, Refusal> {
    let pods = usage::pods(&service.context, &service.pods, &service.rates).await?;
    answer::json(&summary::document(&service.context.config, &usage::node(&service.rates), &pods))
}

/// What metrics-server reads.
pub(super) async fn resource(service: &Arc<Service>) -> Result<Answer, Refusal> {
    let pods = usage::pods(&service.context, &service.pods, &service.rates).await?;
    Ok(answer::text(StatusCode::OK, &exposition::resource(&usage::node(&service.rates), &pods)))
}

/// What dashboards read.
pub(super) async fn cadvisor(service: &Arc<Service>) -> Result<Answer, Refusal> {
    let pods = usage::pods(&service.context, &service.pods, &service.rates).await?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let text = exposition::cadvisor(&usage::node(&service.rates), &pods, cores, service.context.memory_capacity);
    Ok(answer::text(StatusCode::OK, &text))
}
