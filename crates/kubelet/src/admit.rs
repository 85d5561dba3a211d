//! Whether a pod that comes to this node fits on it. The scheduler has seen to that; this is for its mistakes, for
//! races, and for pods that never met it.

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::container::Allocatable;
use crate::podlife::Verdict;
use crate::{qos, quantity, spec};

/// What all containers of a pod ask for at once, in thousandths; init containers run one by one.
pub(crate) fn requests(pod: &Pod, resource: &str) -> i64 {
    let of = |container: &Container| qos::request(container, resource).and_then(quantity::milli).unwrap_or(0);
    let spec = spec::pod_spec(pod);
    let main: i64 = spec.containers.iter().map(of).sum();
    let mut sidecars = 0;
    let mut highest = 0;
    for container in spec.init_containers.iter().flatten() {
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars += of(container);
            highest = highest.max(sidecars);
        } else {
            highest = highest.max(sidecars + of(container));
        }
    }
    let overhead = spec.overhead.as_ref().and_then(|overhead| overhead.get(resource)).and_then(quantity::milli);
    (main + sidecars).max(highest) + overhead.unwrap_or(0)
}

pub(crate) fn is_terminal(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"))
}

/// Why it is turned away, if it is. `others` are the pods that are here.
pub(crate) fn refuse<'a>(
    pod: &Pod,
    others: impl Iterator<Item = &'a Pod> + Clone,
    node: &Allocatable,
    max_pods: usize,
) -> Option<Verdict> {
    let others = others.filter(|other| !is_terminal(other));
    let short = |resource: &str, requested: i64, used: i64, capacity: i64| Verdict {
        reason: format!("OutOf{resource}"),
        message: format!(
            "Pod was rejected: Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, \
             capacity: {capacity}"
        ),
        grace_seconds: None,
        disruption: false,
    };
    let count = others.clone().count();
    if count >= max_pods {
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        return Some(short("pods", 1, number(count), number(max_pods)));
    }
    let capacities = [("cpu", node.cpu_milli, 1), ("memory", node.memory, 1000)];
    capacities.into_iter().find_map(|(resource, capacity, unit)| {
        let requested = requests(pod, resource) / unit;
        let used = others.clone().map(|other| requests(other, resource) / unit).sum::<i64>();
        let full = requested > 0 && requested > capacity - used;
        full.then(|| short(resource, requested, used, capacity))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(cpu: &str) -> Pod {
        serde_json::from_value(json!({"spec": {
            "initContainers": [{"name": "i", "resources": {"requests": {"cpu": "300m"}}}],
            "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}],
        }}))
        .unwrap()
    }

    #[test]
    fn a_pod_that_does_not_fit_is_turned_away() {
        let node = Allocatable { cpu_milli: 1000, memory: 1 << 30, ephemeral_storage: 0 };
        let others = [pod("400m"), pod("100m")];
        assert_eq!(requests(&others[1], "cpu"), 300);
        let refused = |pod: &Pod, max| refuse(pod, others.iter(), &node, max).map(|verdict| verdict.message);
        assert_eq!(refused(&pod("300m"), 10), None);
        assert_eq!(
            refused(&pod("301m"), 10).unwrap(),
            "Pod was rejected: Node didn't have enough resource: cpu, requested: 301, used: 700, capacity: 1000"
        );
        assert!(refused(&pod("1m"), 2).unwrap().contains("pods, requested: 1, used: 2, capacity: 2"));
    }
}
