//! Security contexts: the pod's and the container's become one.

use cri::v1::security_profile::ProfileType;
use cri::v1::{
    Capability, Int64Value, LinuxContainerSecurityContext, LinuxSandboxSecurityContext, NamespaceMode, NamespaceOption,
    SecurityProfile, SupplementalGroupsPolicy,
};
use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext, SeccompProfile, SecurityContext};

use crate::spec::{self, Entry, Role};

const MASKED: [&str; 10] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
];
const MASKED_TOO: [&str; 2] = ["/sys/firmware", "/sys/devices/virtual/powercap"];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The user that an image names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ImageUser {
    pub(crate) uid: Option<i64>,
    pub(crate) name: String,
}

/// A container that must not be started as it is.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum SecurityError {
    #[error("container's runAsUser breaks non-root policy (pod: {0:?}, container: {1})")]
    RunsAsRoot(String, String),
    #[error("container has runAsNonRoot and image will run as root (pod: {0:?}, container: {1})")]
    ImageRunsAsRoot(String, String),
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root (pod: \
         {pod:?}, container: {container})"
    )]
    UserNotNumeric { user: String, pod: String, container: String },
}

pub(crate) fn container(
    pod: &Pod,
    entry: &Entry<'_>,
    image: &ImageUser,
    target_id: Option<String>,
) -> Result<LinuxContainerSecurityContext, SecurityError> {
    let spec = spec::pod_spec(pod);
    let none = PodSecurityContext::default();
    let of_pod = spec.security_context.as_ref().unwrap_or(&none);
    let none = SecurityContext::default();
    let own = entry.container.security_context.as_ref().unwrap_or(&none);
    let run_as_user = own.run_as_user.or(of_pod.run_as_user);
    if own.run_as_non_root.or(of_pod.run_as_non_root) == Some(true) {
        check_non_root(pod, &entry.container, run_as_user, image)?;
    }
    let privileged = own.privileged == Some(true);
    let seccomp = own.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref());
    let unmasked = privileged || own.proc_mount.as_deref() == Some("Unmasked");
    let paths = |list: &[&str]| list.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    let user = run_as_user.or(image.uid);
    Ok(LinuxContainerSecurityContext {
        capabilities: Some(capabilities(own)),
        privileged,
        namespace_options: Some(namespaces(pod, entry.role, target_id)),
        run_as_user: user.map(|value| Int64Value { value }),
        run_as_group: own.run_as_group.or(of_pod.run_as_group).map(|value| Int64Value { value }),
        run_as_username: if user.is_none() { image.name.clone() } else { String::new() },
        readonly_rootfs: own.read_only_root_filesystem == Some(true),
        supplemental_groups: groups(of_pod),
        supplemental_groups_policy: policy(of_pod) as i32,
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths: if unmasked { Vec::new() } else { paths(&[&MASKED[..], &MASKED_TOO[..]].concat()) },
        readonly_paths: if unmasked { Vec::new() } else { paths(&READ_ONLY) },
        seccomp: Some(profile(seccomp, privileged)),
        ..Default::default()
    })
}

fn check_non_root(
    pod: &Pod,
    container: &Container,
    run_as_user: Option<i64>,
    image: &ImageUser,
) -> Result<(), SecurityError> {
    let (pod, name) = (spec::display(pod), container.name.clone());
    match run_as_user {
        Some(0) => return Err(SecurityError::RunsAsRoot(pod, name)),
        Some(_) => return Ok(()),
        None => {}
    }
    match image.uid {
        Some(0) => Err(SecurityError::ImageRunsAsRoot(pod, name)),
        Some(_) => Ok(()),
        None if image.name.is_empty() => Err(SecurityError::ImageRunsAsRoot(pod, name)),
        None => Err(SecurityError::UserNotNumeric { user: image.name.clone(), pod, container: name }),
    }
}

pub(crate) fn sandbox(pod: &Pod) -> LinuxSandboxSecurityContext {
    let spec = spec::pod_spec(pod);
    let none = PodSecurityContext::default();
    let of_pod = spec.security_context.as_ref().unwrap_or(&none);
    let privileged = spec::containers(pod)
        .iter()
        .any(|entry| entry.container.security_context.as_ref().and_then(|context| context.privileged) == Some(true));
    LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod, Role::Main, None)),
        run_as_user: of_pod.run_as_user.map(|value| Int64Value { value }),
        run_as_group: of_pod.run_as_group.map(|value| Int64Value { value }),
        supplemental_groups: groups(of_pod),
        supplemental_groups_policy: policy(of_pod) as i32,
        privileged,
        seccomp: Some(SecurityProfile {
            profile_type: ProfileType::RuntimeDefault as i32,
            localhost_ref: String::new(),
        }),
        ..Default::default()
    }
}

fn namespaces(pod: &Pod, role: Role, target_id: Option<String>) -> NamespaceOption {
    let spec = spec::pod_spec(pod);
    let node = |on: Option<bool>| if on == Some(true) { NamespaceMode::Node } else { NamespaceMode::Pod } as i32;
    let pid = match target_id {
        Some(_) if role == Role::Ephemeral => NamespaceMode::Target,
        _ if spec.host_pid == Some(true) => NamespaceMode::Node,
        _ if spec.share_process_namespace == Some(true) => NamespaceMode::Pod,
        _ => NamespaceMode::Container,
    };
    NamespaceOption {
        network: node(spec.host_network),
        ipc: node(spec.host_ipc),
        pid: pid as i32,
        target_id: target_id.unwrap_or_default(),
        userns_options: None,
    }
}

fn groups(of_pod: &PodSecurityContext) -> Vec<i64> {
    of_pod.supplemental_groups.iter().flatten().copied().chain(of_pod.fs_group).collect()
}

fn policy(of_pod: &PodSecurityContext) -> SupplementalGroupsPolicy {
    match of_pod.supplemental_groups_policy.as_deref() {
        Some("Strict") => SupplementalGroupsPolicy::Strict,
        _ => SupplementalGroupsPolicy::Merge,
    }
}

fn capabilities(own: &SecurityContext) -> Capability {
    let set = own.capabilities.as_ref();
    Capability {
        add_capabilities: set.and_then(|set| set.add.clone()).unwrap_or_default(),
        drop_capabilities: set.and_then(|set| set.drop.clone()).unwrap_or_default(),
        add_ambient_capabilities: Vec::new(),
    }
}

fn profile(profile: Option<&SeccompProfile>, privileged: bool) -> SecurityProfile {
    let of = |profile_type: ProfileType, localhost_ref: String| SecurityProfile {
        profile_type: profile_type as i32,
        localhost_ref,
    };
    match profile {
        _ if privileged => of(ProfileType::Unconfined, String::new()),
        None => of(ProfileType::Unconfined, String::new()),
        Some(profile) => match profile.type_.as_str() {
            "RuntimeDefault" => of(ProfileType::RuntimeDefault, String::new()),
            "Localhost" => of(ProfileType::Localhost, profile.localhost_profile.clone().unwrap_or_default()),
            _ => of(ProfileType::Unconfined, String::new()),
        },
    }
}
