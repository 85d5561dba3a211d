//! Requests and limits as cgroup values. The formulas are upstream's, as the OOM killer and the scheduler see them.

use cri::v1::LinuxContainerResources;
use k8s_openapi::api::core::v1::{Container, Pod};

use crate::qos::{self, Class};
use crate::{quantity, spec};

const PERIOD: i64 = 100_000;

pub(crate) fn linux(pod: &Pod, container: &Container, node_memory: i64) -> LinuxContainerResources {
    let cpu_request = qos::request(container, "cpu").and_then(quantity::milli);
    let cpu_limit = qos::limit(container, "cpu").and_then(quantity::milli).filter(|milli| *milli > 0);
    let memory_limit = qos::limit(container, "memory").and_then(quantity::value).unwrap_or(0);
    let mut resources = LinuxContainerResources {
        cpu_shares: shares(cpu_request.or(cpu_limit).unwrap_or(0)),
        memory_limit_in_bytes: memory_limit,
        oom_score_adj: oom_score_adj(pod, container, node_memory),
        ..Default::default()
    };
    if let Some(milli) = cpu_limit {
        resources.cpu_period = PERIOD;
        resources.cpu_quota = (milli * PERIOD / 1000).max(1000);
    }
    resources
}

fn shares(milli: i64) -> i64 {
    if milli == 0 { 2 } else { (milli * 1024 / 1000).clamp(2, 262_144) }
}

fn oom_score_adj(pod: &Pod, container: &Container, node_memory: i64) -> i64 {
    let priority = spec::pod_spec(pod).priority.unwrap_or(0);
    if priority >= 2_000_000_000 {
        return -997;
    }
    match qos::class(pod) {
        Class::Guaranteed => -997,
        Class::BestEffort => 1000,
        Class::Burstable => {
            let request = qos::request(container, "memory").and_then(quantity::value).unwrap_or(0);
            let score = 1000 - 1000_i64.saturating_mul(request).checked_div(node_memory).unwrap_or(0);
            // Below guaranteed pods' processes, and above best-effort ones'.
            score.clamp(3, 999)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(resources: serde_json::Value, expected: (i64, i64, i64, i64)) {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "spec": {"containers": [{"name": "c", "resources": resources}]}
        }))
        .unwrap();
        let linux = linux(&pod, &pod.spec.as_ref().unwrap().containers[0], 1000 << 20);
        assert_eq!((linux.cpu_shares, linux.cpu_quota, linux.memory_limit_in_bytes, linux.oom_score_adj), expected);
    }

    #[test]
    fn values_follow_upstream() {
        check(serde_json::json!({}), (2, 0, 0, 1000));
        check(serde_json::json!({"requests": {"cpu": "100m", "memory": "100Mi"}}), (102, 0, 0, 900));
        check(
            serde_json::json!({"limits": {"cpu": "1", "memory": "64Mi"}, "requests": {"cpu": "1", "memory": "64Mi"}}),
            (1024, 100_000, 64 << 20, -997),
        );
        check(serde_json::json!({"limits": {"cpu": "5m"}}), (5, 1000, 0, 999));
    }
}
