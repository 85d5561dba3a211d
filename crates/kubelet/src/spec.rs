//! The containers of a pod, with what role each has.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};

/// What a container is in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// Runs to its end before the next.
    Init,
    /// An init container that keeps running.
    Sidecar,
    Main,
    /// Added to a running pod for debugging.
    Ephemeral,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry<'a> {
    pub(crate) role: Role,
    pub(crate) container: Cow<'a, Container>,
}

impl Entry<'_> {
    pub(crate) fn name(&self) -> &str {
        &self.container.name
    }

    /// The field path that events carry.
    pub(crate) fn field_path(&self) -> String {
        let list = match self.role {
            Role::Init | Role::Sidecar => "initContainers",
            Role::Main => "containers",
            Role::Ephemeral => "ephemeralContainers",
        };
        format!("spec.{list}{{{}}}", self.name())
    }
}

pub(crate) fn pod_spec(pod: &Pod) -> &PodSpec {
    static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or_else(|| &EMPTY)
}

/// Init containers in order, then the others, then ephemeral ones.
pub(crate) fn containers(pod: &Pod) -> Vec<Entry<'_>> {
    let spec = pod_spec(pod);
    let init = spec.init_containers.iter().flatten().map(|container| {
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        let role = if sidecar { Role::Sidecar } else { Role::Init };
        Entry { role, container: Cow::Borrowed(container) }
    });
    let main = spec.containers.iter().map(|container| Entry { role: Role::Main, container: Cow::Borrowed(container) });
    let ephemeral = spec
        .ephemeral_containers
        .iter()
        .flatten()
        .map(|container| Entry { role: Role::Ephemeral, container: Cow::Owned(as_container(container)) });
    init.chain(main).chain(ephemeral).collect()
}

/// The most that containers have at a time: sidecars and main containers together, or an init container and the sidecars
/// before it.
pub(crate) fn at_a_time(amounts: impl IntoIterator<Item = (Role, i64)>) -> i64 {
    let (mut main, mut sidecars, mut highest) = (0, 0, 0);
    for (role, amount) in amounts {
        match role {
            Role::Sidecar => sidecars += amount,
            Role::Init => highest = highest.max(sidecars + amount),
            Role::Main => main += amount,
            Role::Ephemeral => {}
        }
    }
    highest.max(main + sidecars)
}

pub(crate) fn find<'a>(pod: &'a Pod, name: &str) -> Option<Entry<'a>> {
    containers(pod).into_iter().find(|entry| entry.name() == name)
}

fn as_container(ephemeral: &EphemeralContainer) -> Container {
    let from = ephemeral.clone();
    Container {
        name: from.name,
        image: from.image,
        image_pull_policy: from.image_pull_policy,
        command: from.command,
        args: from.args,
        env: from.env,
        env_from: from.env_from,
        working_dir: from.working_dir,
        resources: from.resources,
        volume_mounts: from.volume_mounts,
        volume_devices: from.volume_devices,
        security_context: from.security_context,
        stdin: from.stdin,
        stdin_once: from.stdin_once,
        tty: from.tty,
        termination_message_path: from.termination_message_path,
        termination_message_policy: from.termination_message_policy,
        ..Container::default()
    }
}

/// Names what of a container cannot change without a restart.
pub(crate) fn hash(container: &Container) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let text = [container.name.as_bytes(), &[0], container.image.as_deref().unwrap_or_default().as_bytes()];
    for byte in text.into_iter().flatten() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:x}")
}

pub(crate) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

pub(crate) fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or("default")
}

pub(crate) fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

pub(crate) fn restart_policy(pod: &Pod) -> &str {
    pod_spec(pod).restart_policy.as_deref().unwrap_or("Always")
}

pub(crate) fn is_host_network(pod: &Pod) -> bool {
    pod_spec(pod).host_network.unwrap_or(false)
}

/// As upstream writes a pod in messages.
pub(crate) fn display(pod: &Pod) -> String {
    format!("{}_{}({})", name(pod), namespace(pod), uid(pod))
}
