//! Whether a pod that comes to this node fits on it. The scheduler has seen to that; this is for its mistakes, for
//! races, and for pods that never met it.

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::container::Allocatable;
use crate::podlife::Verdict;
use crate::podlife::resize::Refusal;
use crate::{qos, quantity, spec};

/// The address of a port that is taken on all of them.
const EVERYWHERE: &str = "0.0.0.0";

/// What all containers of a pod ask for at once, in thousandths; init containers run one by one.
pub(crate) fn requests(pod: &Pod, resource: &str) -> i64 {
    let asked = spec::containers(pod).into_iter().map(|entry| (entry.role, request(&entry.container, resource)));
    let overhead = spec::pod_spec(pod).overhead.as_ref().and_then(|overhead| overhead.get(resource));
    spec::at_a_time(asked) + overhead.and_then(quantity::milli).unwrap_or(0)
}

/// What a container asks for, in thousandths.
fn request(container: &Container, resource: &str) -> i64 {
    qos::request(container, resource).and_then(quantity::milli).unwrap_or(0)
}

pub(crate) fn is_terminal(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"))
}

/// The ports of the node that a pod takes: protocol, address, number.
fn host_ports(pod: &Pod) -> impl Iterator<Item = (&str, &str, i32)> {
    let spec = spec::pod_spec(pod);
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    sidecars.chain(&spec.containers).flat_map(|container| container.ports.iter().flatten()).filter_map(|port| {
        let number = port.host_port.filter(|number| *number > 0)?;
        let address = port.host_ip.as_deref().filter(|ip| !ip.is_empty()).unwrap_or(EVERYWHERE);
        Some((port.protocol.as_deref().unwrap_or("TCP"), address, number))
    })
}

/// Whether two pods want the same port of the node.
fn meets(one: &Pod, other: &Pod) -> bool {
    host_ports(one).any(|(protocol, address, number)| {
        host_ports(other).any(|(theirs, at, taken)| {
            let same = address == at || address == EVERYWHERE || at == EVERYWHERE;
            same && (protocol, number) == (theirs, taken)
        })
    })
}

/// Settings of the kernel that a pod may change, for they are its own and hurt nobody else.
const SAFE_SYSCTLS: &[&str] = &[
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// A setting of the kernel that a pod may not change, and why not. `allowed` are those of the node's owner.
fn forbidden_sysctl(pod: &Pod, allowed: &[String]) -> Option<String> {
    let spec = spec::pod_spec(pod);
    let sysctls = spec.security_context.iter().flat_map(|context| context.sysctls.iter().flatten());
    sysctls.map(|sysctl| sysctl.name.replace('/', ".")).find_map(|name| {
        let permitted = allowed.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == *pattern,
        });
        let ipc = ["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."].iter().any(|own| name.starts_with(own));
        let why = if !permitted && !SAFE_SYSCTLS.contains(&name.as_str()) {
            "not allowlisted"
        } else if name.starts_with("net.") && spec::is_host_network(pod) {
            "not allowed with host net enabled"
        } else if ipc && spec.host_ipc == Some(true) {
            "not allowed with host ipc enabled"
        } else {
            return None;
        };
        Some(format!("forbidden sysctl: \"{name}\" {why}"))
    })
}

/// A pod that asks for what the node does not give to anybody.
pub(crate) fn refuse_settings(pod: &Pod, allowed_sysctls: &[String]) -> Option<Verdict> {
    let why = forbidden_sysctl(pod, allowed_sysctls)?;
    Some(rejected("SysctlForbidden", &why))
}

fn rejected(reason: &str, why: &str) -> Verdict {
    let message = format!("Pod was rejected: {why}");
    Verdict { reason: reason.to_owned(), message, grace_seconds: None, disruption: false }
}

/// Why a pod that runs here does not get what it asks for by now: never on this node, or not yet.
pub(crate) fn refuse_resize<'a>(
    pod: &Pod,
    others: impl Iterator<Item = &'a Pod> + Clone,
    node: &Allocatable,
) -> Option<Refusal> {
    if !asks_for_more(pod) {
        return None;
    }
    let others = others.filter(|other| !is_terminal(other));
    capacities(node).into_iter().find_map(|(resource, capacity, unit)| {
        let requested = requests(pod, resource) / unit;
        if requested > capacity {
            let why =
                format!("Node didn't have enough capacity: {resource}, requested: {requested}, capacity: {capacity}");
            return Some(Refusal { reason: "Infeasible", message: why });
        }
        let used = others.clone().map(|other| requests(other, resource) / unit).sum::<i64>();
        let why = || lacking(resource, requested, used, capacity);
        (requested > capacity - used).then(|| Refusal { reason: "Deferred", message: why() })
    })
}

/// Whether a container asks for more than it has been told to have.
fn asks_for_more(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let told = status.map(|status| [&status.container_statuses, &status.init_container_statuses]);
    let told = told.into_iter().flatten().flatten().flatten();
    told.into_iter().any(|told| {
        let Some(entry) = spec::find(pod, &told.name) else { return false };
        let Some(given) = &told.resources else { return false };
        let had = Container { resources: Some(given.clone()), ..Container::default() };
        ["cpu", "memory"].iter().any(|name| request(&entry.container, name) > request(&had, name))
    })
}

fn capacities(node: &Allocatable) -> [(&'static str, i64, i64); 2] {
    [("cpu", node.cpu_milli, 1), ("memory", node.memory, 1000)]
}

fn lacking(resource: &str, requested: i64, used: i64, capacity: i64) -> String {
    format!("Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}")
}

/// Why it is turned away, if it is. `others` are the pods that are here.
pub(crate) fn refuse<'a>(
    pod: &Pod,
    others: impl Iterator<Item = &'a Pod> + Clone,
    node: &Allocatable,
    max_pods: usize,
) -> Option<Verdict> {
    let others = others.filter(|other| !is_terminal(other));
    let short = |resource: &str, requested: i64, used: i64, capacity: i64| {
        rejected(&format!("OutOf{resource}"), &lacking(resource, requested, used, capacity))
    };
    let count = others.clone().count();
    if count >= max_pods {
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        return Some(short("pods", 1, number(count), number(max_pods)));
    }
    if others.clone().any(|other| meets(pod, other)) {
        let why = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
        return Some(rejected("NodePorts", why));
    }
    capacities(node).into_iter().find_map(|(resource, capacity, unit)| {
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
    #[test]
    fn a_port_of_the_node_belongs_to_one_pod() {
        let node = Allocatable { cpu_milli: 1000, memory: 1 << 30, ephemeral_storage: 0 };
        let with = |list: &str, port: serde_json::Value, more: serde_json::Value| -> Pod {
            let mut container = json!({"name": "c", "ports": [port]});
            container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let mut spec = json!({"containers": []});
            spec[list] = json!([container]);
            serde_json::from_value(json!({"spec": spec})).unwrap()
        };
        let port = |port| with("containers", port, json!({}));
        let one = [port(json!({"containerPort": 1, "hostPort": 80, "protocol": "TCP"}))];
        let reason = |pod: Pod, others: &[Pod]| refuse(&pod, others.iter(), &node, 10).map(|verdict| verdict.reason);
        let refused = Some("NodePorts".to_owned());
        let local = || port(json!({"containerPort": 1, "hostPort": 80, "hostIP": "127.0.0.1"}));
        assert_eq!(reason(port(json!({"containerPort": 2, "hostPort": 80})), &one), refused);
        assert_eq!(reason(local(), &one), refused);
        assert_eq!(reason(port(json!({"containerPort": 1, "hostPort": 80, "protocol": "UDP"})), &one), None);
        assert_eq!(reason(port(json!({"containerPort": 80})), &one), None);
        assert_eq!(reason(port(json!({"containerPort": 1, "hostPort": 80, "hostIP": "127.0.0.2"})), &[local()]), None);
        let sidecar =
            with("initContainers", json!({"containerPort": 1, "hostPort": 80}), json!({"restartPolicy": "Always"}));
        assert_eq!(reason(sidecar, &one), refused);
    }
    #[test]
    fn settings_of_the_kernel_are_for_pods_that_may() {
        let refused = |name: &str, more: serde_json::Value, allowed: &[&str]| {
            let mut spec = json!({"containers": [], "securityContext": {"sysctls": [{"name": name, "value": "1"}]}});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
            let allowed: Vec<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
            refuse_settings(&pod, &allowed).map(|verdict| (verdict.reason, verdict.message))
        };
        let (reason, message) = refused("kernel.msgmax", json!({}), &[]).unwrap();
        assert_eq!(reason, "SysctlForbidden");
        assert_eq!(message, "Pod was rejected: forbidden sysctl: \"kernel.msgmax\" not allowlisted");
        assert_eq!(refused("kernel.msgmax", json!({}), &["kernel.msg*"]), None);
        assert_eq!(refused("kernel/shm_rmid_forced", json!({}), &[]), None);
        assert!(refused("kernel.shm_rmid_forced", json!({"hostIPC": true}), &[]).is_some());
        assert!(refused("net.ipv4.tcp_syncookies", json!({"hostNetwork": true}), &[]).is_some());
    }
}
