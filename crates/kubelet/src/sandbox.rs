//! From a pod to the sandbox that CRI is asked for.

use cri::v1::{
    DnsConfig, LinuxContainerResources, LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata, PortMapping,
    Protocol,
};
use k8s_openapi::api::core::v1::Pod;

use crate::config::Config;
use crate::container::{labels, linux_resources, sandbox_security};
use crate::qos::{self, Class};
use crate::spec::{self, Role};

pub(crate) fn config(pod: &Pod, config: &Config, dns: DnsConfig, attempt: u32, node_memory: i64) -> PodSandboxConfig {
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: spec::name(pod).to_owned(),
            uid: spec::uid(pod).to_owned(),
            namespace: spec::namespace(pod).to_owned(),
            attempt,
        }),
        hostname: hostname(pod, config),
        log_directory: log_directory(pod, config).to_string_lossy().into_owned(),
        dns_config: Some(dns),
        port_mappings: if spec::is_host_network(pod) { Vec::new() } else { port_mappings(pod) },
        labels: labels::sandbox(pod),
        annotations: labels::sandbox_annotations(pod),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: cgroup_parent(pod, config),
            security_context: Some(sandbox_security(pod)),
            sysctls: sysctls(pod),
            overhead: None,
            resources: Some(sum(pod, node_memory)),
        }),
        windows: None,
    }
}

pub(crate) fn log_directory(pod: &Pod, config: &Config) -> std::path::PathBuf {
    config.pod_logs_dir.join(format!("{}_{}_{}", spec::namespace(pod), spec::name(pod), spec::uid(pod)))
}

fn sysctls(pod: &Pod) -> std::collections::HashMap<String, String> {
    let context = spec::pod_spec(pod).security_context.as_ref();
    let list = context.and_then(|context| context.sysctls.as_ref());
    list.into_iter().flatten().map(|sysctl| (sysctl.name.replace('/', "."), sysctl.value.clone())).collect()
}

/// Limits of the whole pod, where every container has one. Sidecars run beside the others, and init containers one by
/// one before them.
pub(crate) fn sum(pod: &Pod, node_memory: i64) -> LinuxContainerResources {
    let entries = spec::containers(pod);
    let entries = entries.iter().filter(|entry| entry.role != Role::Ephemeral);
    let each: Vec<_> = entries.map(|entry| (entry.role, linux_resources(pod, &entry.container, node_memory))).collect();
    let total = |value: fn(&LinuxContainerResources) -> i64| {
        spec::at_a_time(each.iter().map(|(role, resources)| (*role, value(resources))))
    };
    let all = |value: fn(&LinuxContainerResources) -> i64| {
        if each.iter().any(|(_, resources)| value(resources) == 0) { 0 } else { total(value) }
    };
    let quota = all(|resources| resources.cpu_quota);
    LinuxContainerResources {
        cpu_shares: total(|resources| resources.cpu_shares).clamp(2, 262_144),
        cpu_quota: quota,
        cpu_period: if quota > 0 { 100_000 } else { 0 },
        memory_limit_in_bytes: all(|resources| resources.memory_limit_in_bytes),
        ..Default::default()
    }
}

pub(crate) fn hostname(pod: &Pod, config: &Config) -> String {
    let spec = spec::pod_spec(pod);
    if let Some(name) = spec.hostname_override.as_ref().filter(|name| !name.is_empty()) {
        return name.clone();
    }
    if spec::is_host_network(pod) {
        return config.node_name.clone();
    }
    let own = spec.hostname.as_deref().filter(|name| !name.is_empty()).unwrap_or_else(|| spec::name(pod));
    if spec.set_hostname_as_fqdn == Some(true)
        && let Some(domain) = domain(pod, config)
    {
        return format!("{own}.{domain}");
    }
    let short: String = own.chars().take(63).collect();
    short.trim_end_matches(['-', '.']).to_owned()
}

/// The domain of a pod with a subdomain.
pub(crate) fn domain(pod: &Pod, config: &Config) -> Option<String> {
    let subdomain = spec::pod_spec(pod).subdomain.as_ref().filter(|subdomain| !subdomain.is_empty())?;
    Some(format!("{subdomain}.{}.svc.{}", spec::namespace(pod), config.cluster_domain))
}

fn port_mappings(pod: &Pod) -> Vec<PortMapping> {
    let ports = spec::containers(pod);
    let ports = ports.iter().flat_map(|entry| entry.container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let host_port = port.host_port.filter(|port| *port > 0)?;
            let protocol = match port.protocol.as_deref() {
                Some("UDP") => Protocol::Udp,
                Some("SCTP") => Protocol::Sctp,
                _ => Protocol::Tcp,
            };
            let host_ip = port.host_ip.clone().unwrap_or_default();
            Some(PortMapping { protocol: protocol as i32, container_port: port.container_port, host_port, host_ip })
        })
        .collect()
}

pub(crate) fn cgroup_parent(pod: &Pod, config: &Config) -> String {
    let uid = spec::uid(pod);
    let class = match qos::class(pod) {
        Class::Guaranteed => None,
        Class::Burstable => Some("burstable"),
        Class::BestEffort => Some("besteffort"),
    };
    let root = config.cgroup_root.trim_end_matches('/');
    if config.cgroup_driver == "systemd" {
        let base = root.trim_start_matches('/').trim_end_matches(".slice").replace('/', "-");
        let uid = uid.replace('-', "_");
        return match class {
            None => format!("/{base}.slice/{base}-pod{uid}.slice"),
            Some(class) => format!("/{base}.slice/{base}-{class}.slice/{base}-{class}-pod{uid}.slice"),
        };
    }
    match class {
        None => format!("{root}/pod{uid}"),
        Some(class) => format!("{root}/{class}/pod{uid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn the_whole_pod_has_room_for_each_container_that_runs_at_a_time() {
        let limits = |init: Value, main: &str| {
            let main = json!([{"name": "c", "resources": {"limits": {"cpu": main, "memory": "10Mi"}}}]);
            let pod = json!({"spec": {"containers": main, "initContainers": init}});
            let sum = sum(&serde_json::from_value(pod).unwrap(), 1 << 30);
            (sum.cpu_quota, sum.memory_limit_in_bytes >> 20)
        };
        let init = |limits: Value, more: Value| {
            let mut container = json!({"name": "i", "resources": {"limits": limits}});
            container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!([container])
        };
        let large = json!({"cpu": "1", "memory": "50Mi"});
        assert_eq!(limits(json!([]), "500m"), (50_000, 10));
        assert_eq!(limits(init(large.clone(), json!({})), "500m"), (100_000, 50));
        assert_eq!(limits(init(large, json!({"restartPolicy": "Always"})), "500m"), (150_000, 60));
        assert_eq!(limits(init(json!({"cpu": "1"}), json!({})), "500m"), (100_000, 0), "one without a limit");
    }
}
