//! The OCI runtime configuration of a container, from what CRI asks and what the image wishes. Pure.

use std::path::PathBuf;

use cri::v1;
use serde_json::{Value, json};

use super::capabilities;
use super::images::store::RunConfig;
use super::passwd::Identity;
use super::seccomp;

/// Everything that the configuration follows from.
pub(crate) struct Input<'a> {
    pub container: &'a v1::ContainerConfig,
    pub image: &'a RunConfig,
    pub identity: &'a Identity,
    /// What the pod is called on its network.
    pub host: &'a str,
    /// Control group, from the hierarchy's root.
    pub cgroup: &'a str,
    pub cgroup_v2: bool,
    /// Kind and pinned file of each namespace that is joined; the kinds of the pod's that are the host's are absent.
    pub joined: Vec<(&'static str, PathBuf)>,
    /// A PID namespace of its own.
    pub own_pid: bool,
    pub resolv_conf: Option<PathBuf>,
    pub hostname: Option<PathBuf>,
    pub shm: PathBuf,
    /// What this process may do itself: more cannot be given.
    pub permitted: u64,
}

/// Command line: CRI's command replaces the image's entrypoint, its args replace the image's.
pub(crate) fn args(container: &v1::ContainerConfig, image: &RunConfig) -> Vec<String> {
    match (container.command.is_empty(), container.args.is_empty()) {
        (false, _) => [container.command.as_slice(), &container.args].concat(),
        (true, false) => [image.entrypoint.as_slice(), &container.args].concat(),
        (true, true) => [image.entrypoint.as_slice(), &image.cmd].concat(),
    }
}

/// Environment: the image's, then the pod's, the last of a name wins.
pub(crate) fn env(input: &Input<'_>) -> Vec<String> {
    let Input { container, image, identity, .. } = input;
    let mut all: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &str| {
        all.retain(|(existing, _)| existing != name);
        all.push((name.to_owned(), value.to_owned()));
    };
    set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    set("HOSTNAME", input.host);
    if let Some(home) = &identity.home {
        set("HOME", home);
    }
    if container.tty {
        set("TERM", "xterm");
    }
    for pair in &image.env {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        set(name, value);
    }
    for pair in &container.envs {
        set(&pair.key, &pair.value);
    }
    all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn security(container: &v1::ContainerConfig) -> v1::LinuxContainerSecurityContext {
    container.linux.as_ref().and_then(|linux| linux.security_context.clone()).unwrap_or_default()
}

/// The `process` part; also the base of every command run in the container.
pub(crate) fn process(input: &Input<'_>) -> Value {
    let (container, image) = (input.container, input.image);
    let security = security(container);
    let cwd = [container.working_dir.as_str(), image.working_dir.as_str(), "/"];
    let cwd = cwd.into_iter().find(|cwd| !cwd.is_empty()).unwrap_or("/");
    let capabilities = capabilities::sets(&security, input.identity.uid, input.permitted);
    let mut groups: Vec<i64> = security.supplemental_groups.clone();
    if security.supplemental_groups_policy == v1::SupplementalGroupsPolicy::Merge as i32 {
        groups.extend(input.identity.groups.iter().map(|gid| i64::from(*gid)));
    }
    // The primary group counts, too, so that a file that it may not read stays closed whatever group is dropped.
    groups.push(input.identity.gid.into());
    groups.sort_unstable();
    groups.dedup();
    let mut process = json!({
        "terminal": container.tty,
        "user": { "uid": input.identity.uid, "gid": input.identity.gid, "additionalGids": groups },
        "args": args(container, image),
        "env": env(input),
        "cwd": cwd,
        "capabilities": capabilities,
    });
    // libcontainer takes the seccomp filter's order from whether this is there at all.
    if security.no_new_privs {
        insert(&mut process, "noNewPrivileges", json!(true));
    }
    process
}

fn insert(object: &mut Value, name: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(name.to_owned(), value);
    }
}

/// The whole configuration.
pub(crate) fn config(input: &Input<'_>) -> Value {
    let security = security(input.container);
    let mut linux = json!({
        "cgroupsPath": input.cgroup,
        "namespaces": namespaces(input),
        "resources": resources(input, security.privileged),
        "rootfsPropagation": propagation(input.container),
    });
    if !security.privileged {
        insert(&mut linux, "maskedPaths", json!(security.masked_paths));
        insert(&mut linux, "readonlyPaths", json!(security.readonly_paths));
        let profile = security.seccomp.as_ref().map(|profile| profile.profile_type);
        if profile == Some(v1::security_profile::ProfileType::RuntimeDefault as i32) {
            insert(&mut linux, "seccomp", seccomp::default_profile(&capabilities::names(&security, input.permitted)));
        }
    }
    let devices = devices(input.container, security.privileged);
    if !devices.is_empty() {
        insert(&mut linux, "devices", json!(devices));
    }
    json!({
        "ociVersion": "1.0.2",
        "process": process(input),
        "root": { "path": "rootfs", "readonly": security.readonly_rootfs },
        "mounts": mounts(input, security.privileged),
        "linux": linux,
    })
}

fn namespaces(input: &Input<'_>) -> Vec<Value> {
    let mut out = vec![json!({ "type": "mount" })];
    if input.own_pid {
        out.push(json!({ "type": "pid" }));
    }
    if input.cgroup_v2 {
        out.push(json!({ "type": "cgroup" }));
    }
    out.extend(input.joined.iter().map(|(kind, path)| json!({ "type": kind, "path": path })));
    out
}

fn resources(input: &Input<'_>, privileged: bool) -> Value {
    let asked = input.container.linux.as_ref().and_then(|linux| linux.resources.clone()).unwrap_or_default();
    let positive = |value: i64| (value > 0).then_some(value);
    let mut cpu = json!({});
    for (name, value) in [("shares", positive(asked.cpu_shares)), ("period", positive(asked.cpu_period))] {
        value.into_iter().for_each(|value| insert(&mut cpu, name, json!(value)));
    }
    if asked.cpu_quota != 0 {
        insert(&mut cpu, "quota", json!(asked.cpu_quota));
    }
    for (name, value) in [("cpus", &asked.cpuset_cpus), ("mems", &asked.cpuset_mems)] {
        if !value.is_empty() {
            insert(&mut cpu, name, json!(value));
        }
    }
    let mut memory = json!({});
    if let Some(limit) = positive(asked.memory_limit_in_bytes) {
        insert(&mut memory, "limit", json!(limit));
    }
    let rules = if privileged { json!([{ "allow": true, "access": "rwm" }]) } else { device_rules(input.container) };
    json!({ "devices": rules, "cpu": cpu, "memory": memory })
}

fn device_rules(container: &v1::ContainerConfig) -> Value {
    let mut rules = vec![json!({ "allow": false, "access": "rwm" })];
    for device in &container.devices {
        if let Some((kind, major, minor)) = device_numbers(&device.host_path) {
            let access = &device.permissions;
            rules.push(json!({ "allow": true, "type": kind, "major": major, "minor": minor, "access": access }));
        }
    }
    json!(rules)
}

fn device_numbers(path: &str) -> Option<(&'static str, u64, u64)> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let found = std::fs::metadata(path).ok()?;
    let kind = if found.file_type().is_char_device() {
        "c"
    } else if found.file_type().is_block_device() {
        "b"
    } else {
        return None;
    };
    Some((kind, nix::sys::stat::major(found.rdev()), nix::sys::stat::minor(found.rdev())))
}

/// Device nodes: those asked for, and with privileges all of the host's.
fn devices(container: &v1::ContainerConfig, privileged: bool) -> Vec<Value> {
    let mut wanted: Vec<(String, String)> =
        container.devices.iter().map(|d| (d.host_path.clone(), d.container_path.clone())).collect();
    if privileged {
        // libcontainer makes these itself.
        let usual = ["null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"];
        let all = std::fs::read_dir("/dev").into_iter().flatten().flatten();
        // Links are no devices: `stdin` would be whatever this process has there.
        let all = all.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()));
        let names = all.map(|entry| entry.file_name().to_string_lossy().into_owned());
        wanted
            .extend(names.filter(|n| !usual.contains(&n.as_str())).map(|n| (format!("/dev/{n}"), format!("/dev/{n}"))));
    }
    let described = |(host, inside): (String, String)| {
        let (kind, major, minor) = device_numbers(&host)?;
        Some(
            json!({ "path": inside, "type": kind, "major": major, "minor": minor, "fileMode": 0o660, "uid": 0, "gid": 0 }),
        )
    };
    wanted.into_iter().filter_map(described).collect()
}

fn propagation(container: &v1::ContainerConfig) -> &'static str {
    let both = v1::MountPropagation::PropagationBidirectional as i32;
    if container.mounts.iter().any(|mount| mount.propagation == both) { "shared" } else { "slave" }
}

fn mounts(input: &Input<'_>, privileged: bool) -> Vec<Value> {
    let mount = |to: &str, kind: &str, source: &str, options: &[&str]| json!({ "destination": to, "type": kind, "source": source, "options": options });
    let kernel: &[&str] =
        if privileged { &["nosuid", "noexec", "nodev", "rw"] } else { &["nosuid", "noexec", "nodev", "ro"] };
    let mut out = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", kernel),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &[kernel, &["relatime"]].concat()),
        mount("/dev/shm", "bind", &input.shm.to_string_lossy(), &["rbind", "rprivate", "nosuid", "nodev", "noexec"]),
    ];
    for (to, file) in [("/etc/resolv.conf", &input.resolv_conf), ("/etc/hostname", &input.hostname)] {
        if let Some(file) = file.as_ref().filter(|_| !input.container.mounts.iter().any(|m| m.container_path == to)) {
            let mode = if security(input.container).readonly_rootfs { "ro" } else { "rw" };
            out.push(mount(to, "bind", &file.to_string_lossy(), &["rbind", "rprivate", mode]));
        }
    }
    for asked in &input.container.mounts {
        let propagation = match asked.propagation {
            1 => "rslave",
            2 => "rshared",
            _ => "rprivate",
        };
        let mode = if asked.readonly { "ro" } else { "rw" };
        out.retain(|existing| existing.get("destination").and_then(Value::as_str) != Some(&asked.container_path));
        out.push(mount(&asked.container_path, "bind", &asked.host_path, &["rbind", propagation, mode]));
    }
    out
}
