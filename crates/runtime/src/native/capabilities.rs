//! Linux capabilities by name. Pure.

use cri::v1;
use serde_json::{Value, json};

/// By number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a container has when it asks for nothing.
const DEFAULT: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// What a process may give on, from its `/proc/PID/status`.
pub(crate) fn permitted(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapPrm:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

fn plain(name: &str) -> String {
    let name = name.to_ascii_uppercase();
    name.strip_prefix("CAP_").map(str::to_owned).unwrap_or(name)
}

/// The container's capabilities, without prefix.
pub(crate) fn names(security: &v1::LinuxContainerSecurityContext, permitted: u64) -> Vec<String> {
    let asked = security.capabilities.clone().unwrap_or_default();
    let all = |list: &[String]| list.iter().any(|name| plain(name) == "ALL");
    let has = |list: &[String], name: &str| list.iter().any(|other| plain(other) == name);
    let wanted = |name: &str| {
        if security.privileged {
            return true;
        }
        let start = all(&asked.add_capabilities) || (DEFAULT.contains(&name) && !all(&asked.drop_capabilities));
        (start && !has(&asked.drop_capabilities, name)) || has(&asked.add_capabilities, name)
    };
    let possible = NAMES.iter().enumerate().filter(|(number, _)| permitted & (1 << number) != 0);
    possible.map(|(_, name)| *name).filter(|name| wanted(name)).map(str::to_owned).collect()
}

/// The `capabilities` part of a process.
pub(crate) fn sets(security: &v1::LinuxContainerSecurityContext, uid: u32, permitted: u64) -> Value {
    let names: Vec<String> = names(security, permitted).into_iter().map(|name| format!("CAP_{name}")).collect();
    let ambient: Vec<String> = security
        .capabilities
        .iter()
        .flat_map(|asked| &asked.add_ambient_capabilities)
        .map(|name| format!("CAP_{}", plain(name)))
        .filter(|name| names.contains(name))
        .collect();
    // The kernel clears these when the user is not root; saying so keeps every runtime alike.
    let held: &[String] = if uid == 0 { &names } else { &ambient };
    json!({ "bounding": names, "permitted": held, "effective": held, "inheritable": ambient, "ambient": ambient })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn security(add: &[&str], drop: &[&str]) -> v1::LinuxContainerSecurityContext {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let capabilities =
            v1::Capability { add_capabilities: list(add), drop_capabilities: list(drop), ..Default::default() };
        v1::LinuxContainerSecurityContext { capabilities: Some(capabilities), ..Default::default() }
    }

    #[test]
    fn added_and_dropped() {
        assert_eq!(names(&security(&[], &[]), u64::MAX).len(), DEFAULT.len());
        assert_eq!(names(&security(&[], &["ALL"]), u64::MAX), Vec::<String>::new());
        assert_eq!(names(&security(&["NET_BIND_SERVICE"], &["ALL"]), u64::MAX), ["NET_BIND_SERVICE"]);
        assert_eq!(names(&security(&["ALL"], &["SYS_ADMIN"]), u64::MAX).len(), NAMES.len() - 1);
        assert!(names(&security(&["cap_net_admin"], &[]), u64::MAX).contains(&"NET_ADMIN".to_owned()));
    }

    #[test]
    fn nothing_is_given_that_the_giver_lacks() {
        let privileged = v1::LinuxContainerSecurityContext { privileged: true, ..Default::default() };
        assert_eq!(names(&privileged, 0b11), ["CHOWN", "DAC_OVERRIDE"]);
        assert_eq!(permitted("Name:\tx\nCapPrm:\t0000000000000003\n"), 3);
    }
}
