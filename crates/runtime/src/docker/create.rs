//! From what CRI asks for to what Docker is asked for. Pure.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, HostConfig, HostConfigLogConfig, Mount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountType,
};
use cri::v1::security_profile::ProfileType;
use cri::v1::{self, MountPropagation, NamespaceMode};

use super::labels::{self, Container};
use crate::pause;
use crate::shared::SYSCTLS;

const NODE: i32 = NamespaceMode::Node as i32;
const POD: i32 = NamespaceMode::Pod as i32;
const TARGET: i32 = NamespaceMode::Target as i32;
/// A log file is rotated by Docker itself when it is larger.
const LOG_SIZE: &str = "10m";
const LOG_FILES: &str = "5";

/// What is known beside the request.
pub(super) struct Node<'a> {
    pub(super) instance: &'a str,
    pub(super) least_oom_score: Option<i64>,
    /// Content of the seccomp profile that the request names.
    pub(super) seccomp: Option<String>,
}

impl Node<'_> {
    fn oom_score(&self, wanted: i64) -> i64 {
        self.least_oom_score.map_or(wanted, |least| wanted.max(least))
    }
}

pub(super) fn options(config: &v1::PodSandboxConfig) -> v1::NamespaceOption {
    let security = config.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
    security.and_then(|security| security.namespace_options.clone()).unwrap_or_default()
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn logs() -> HostConfigLogConfig {
    let settings = [("max-size", LOG_SIZE), ("max-file", LOG_FILES)];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(settings) }
}

/// The container that holds a sandbox's namespaces.
pub(super) fn sandbox(config: &v1::PodSandboxConfig, node: &Node<'_>) -> ContainerCreateBody {
    let (options, linux) = (options(config), config.linux.clone().unwrap_or_default());
    let own_network = options.network != NODE;
    let mut sysctls: HashMap<String, String> = linux.sysctls;
    if own_network {
        for (name, value) in SYSCTLS {
            sysctls.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    let host = HostConfig {
        network_mode: Some(if own_network { "none" } else { "host" }.to_owned()),
        ipc_mode: Some(if options.ipc == NODE { "host" } else { "shareable" }.to_owned()),
        pid_mode: (options.pid == NODE).then(|| "host".to_owned()),
        cgroup_parent: text(&linux.cgroup_parent),
        sysctls: Some(sysctls),
        oom_score_adj: Some(node.oom_score(-998)),
        log_config: Some(logs()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(pause::IMAGE.to_owned()),
        // Of the host's network the host name is part.
        hostname: text(&config.hostname).filter(|_| own_network),
        labels: Some(labels::of_sandbox(node.instance, config)),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

/// A container in a sandbox.
pub(super) fn container(made: &Container, sandbox: &v1::PodSandboxConfig, node: &Node<'_>) -> ContainerCreateBody {
    let config = &made.config;
    let linux = config.linux.clone().unwrap_or_default();
    let security = linux.security_context.unwrap_or_default();
    let mut host = HostConfig {
        mounts: Some(config.mounts.iter().map(mount).collect()),
        devices: Some(config.devices.iter().map(device).collect()),
        log_config: Some(logs()),
        cgroup_parent: sandbox.linux.as_ref().and_then(|linux| text(&linux.cgroup_parent)),
        ..HostConfig::default()
    };
    join(&mut host, made, &security, options(sandbox).network == NODE);
    secure(&mut host, &security, node);
    limit(&mut host, &linux.resources.unwrap_or_default(), node);
    let command = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
    ContainerCreateBody {
        image: config.image.as_ref().map(|image| image.image.clone()),
        entrypoint: command(&config.command),
        cmd: command(&config.args),
        env: Some(config.envs.iter().map(|env| format!("{}={}", env.key, env.value)).collect()),
        working_dir: text(&config.working_dir),
        user: user(&security),
        tty: Some(config.tty),
        open_stdin: Some(config.stdin),
        stdin_once: Some(config.stdin_once),
        labels: Some(labels::of_container(node.instance, made)),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

/// The namespaces that a container shares.
fn join(host: &mut HostConfig, made: &Container, security: &v1::LinuxContainerSecurityContext, host_network: bool) {
    let sandbox = format!("container:{}", made.sandbox);
    let options = security.namespace_options.clone().unwrap_or_default();
    host.network_mode = Some(sandbox.clone());
    host.ipc_mode = Some(if options.ipc == NODE { "host".to_owned() } else { sandbox.clone() });
    host.pid_mode = match options.pid {
        NODE => Some("host".to_owned()),
        POD => Some(sandbox),
        TARGET => Some(format!("container:{}", options.target_id)),
        _ => None,
    };
    host.uts_mode = host_network.then(|| "host".to_owned());
}

fn secure(host: &mut HostConfig, security: &v1::LinuxContainerSecurityContext, node: &Node<'_>) {
    let capabilities = security.capabilities.clone().unwrap_or_default();
    let mut options = Vec::new();
    if security.no_new_privs {
        options.push("no-new-privileges".to_owned());
    }
    let seccomp = security.seccomp.as_ref().map_or(ProfileType::Unconfined as i32, |seccomp| seccomp.profile_type);
    if security.privileged || seccomp == ProfileType::Unconfined as i32 {
        options.push("seccomp=unconfined".to_owned());
    } else if let Some(profile) = &node.seccomp {
        options.push(format!("seccomp={profile}"));
    }
    host.privileged = Some(security.privileged);
    host.readonly_rootfs = Some(security.readonly_rootfs);
    host.cap_add = Some(capabilities.add_capabilities);
    host.cap_drop = Some(capabilities.drop_capabilities);
    host.group_add = Some(security.supplemental_groups.iter().map(ToString::to_string).collect());
    host.security_opt = Some(options);
    if !security.privileged {
        host.masked_paths = Some(security.masked_paths.clone());
        host.readonly_paths = Some(security.readonly_paths.clone());
    }
}

fn limit(host: &mut HostConfig, resources: &v1::LinuxContainerResources, node: &Node<'_>) {
    let set = |value: i64| (value != 0).then_some(value);
    host.cpu_shares = set(resources.cpu_shares);
    host.cpu_quota = set(resources.cpu_quota);
    host.cpu_period = set(resources.cpu_period);
    host.memory = set(resources.memory_limit_in_bytes);
    // As much as memory: none of it is swap.
    host.memory_swap = host.memory;
    host.cpuset_cpus = text(&resources.cpuset_cpus);
    host.cpuset_mems = text(&resources.cpuset_mems);
    host.oom_score_adj = Some(node.oom_score(resources.oom_score_adj));
}

fn user(security: &v1::LinuxContainerSecurityContext) -> Option<String> {
    let user = match &security.run_as_user {
        Some(id) => id.value.to_string(),
        None => security.run_as_username.clone(),
    };
    match &security.run_as_group {
        Some(group) if !user.is_empty() => Some(format!("{user}:{}", group.value)),
        _ => text(&user),
    }
}

fn mount(asked: &v1::Mount) -> Mount {
    let propagation = match MountPropagation::try_from(asked.propagation) {
        Ok(MountPropagation::PropagationHostToContainer) => MountBindOptionsPropagationEnum::RSLAVE,
        Ok(MountPropagation::PropagationBidirectional) => MountBindOptionsPropagationEnum::RSHARED,
        _ => MountBindOptionsPropagationEnum::RPRIVATE,
    };
    Mount {
        target: Some(asked.container_path.clone()),
        source: Some(asked.host_path.clone()),
        typ: Some(MountType::BIND),
        read_only: Some(asked.readonly),
        bind_options: Some(MountBindOptions { propagation: Some(propagation), ..MountBindOptions::default() }),
        ..Mount::default()
    }
}

fn device(asked: &v1::Device) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(asked.host_path.clone()),
        path_in_container: Some(asked.container_path.clone()),
        cgroup_permissions: Some(asked.permissions.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Node<'static> {
        Node { instance: "i", least_oom_score: Some(0), seccomp: None }
    }

    fn in_sandbox(options: v1::NamespaceOption, resources: v1::LinuxContainerResources) -> HostConfig {
        let security_context = v1::LinuxContainerSecurityContext {
            namespace_options: Some(options),
            run_as_user: Some(v1::Int64Value { value: 7 }),
            run_as_group: Some(v1::Int64Value { value: 8 }),
            ..Default::default()
        };
        let linux = v1::LinuxContainerConfig { resources: Some(resources), security_context: Some(security_context) };
        let config = v1::ContainerConfig { linux: Some(linux), ..Default::default() };
        let made = Container { sandbox: "s".into(), config, ..Default::default() };
        let body = container(&made, &v1::PodSandboxConfig::default(), &node());
        assert_eq!(body.user.as_deref(), Some("7:8"));
        body.host_config.unwrap()
    }

    #[test]
    fn a_container_joins_its_sandbox() {
        let pid = |pid| v1::NamespaceOption { pid, target_id: "t".into(), ..Default::default() };
        let mode = |host: HostConfig| (host.network_mode, host.pid_mode);
        let none = v1::LinuxContainerResources::default;
        let joined = Some("container:s".to_owned());
        assert_eq!(mode(in_sandbox(pid(POD), none())), (joined.clone(), joined.clone()));
        assert_eq!(mode(in_sandbox(pid(NamespaceMode::Container as i32), none())), (joined.clone(), None));
        assert_eq!(mode(in_sandbox(pid(TARGET), none())).1.as_deref(), Some("container:t"));
        assert_eq!(mode(in_sandbox(pid(NODE), none())).1.as_deref(), Some("host"));
    }

    #[test]
    fn limits_are_docker_s_and_no_swap_is_used() {
        let resources = v1::LinuxContainerResources {
            memory_limit_in_bytes: 1 << 20,
            cpu_quota: 50_000,
            oom_score_adj: -997,
            ..Default::default()
        };
        let host = in_sandbox(v1::NamespaceOption::default(), resources);
        assert_eq!((host.memory, host.memory_swap, host.cpu_quota), (Some(1 << 20), Some(1 << 20), Some(50_000)));
        assert_eq!((host.cpu_shares, host.oom_score_adj), (None, Some(0)), "no lower score than may be given");
    }

    #[test]
    fn a_sandbox_has_no_network_of_docker_s() {
        let config = v1::PodSandboxConfig { hostname: "web".into(), ..Default::default() };
        let body = sandbox(&config, &node());
        let host = body.host_config.unwrap();
        assert_eq!((body.hostname.as_deref(), host.network_mode.as_deref()), (Some("web"), Some("none")));
        assert_eq!(host.ipc_mode.as_deref(), Some("shareable"));
    }
}
