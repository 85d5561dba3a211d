//! The default system call filter (`RuntimeDefault`). Pure.
//!
//! It names what is refused: calls that reach past the container (the kernel's clock, keys, modules, mounts, other
//! processes' namespaces, new kernel entry points of bad repute), unless a capability that stands for them was given.

use serde_json::{Value, json};

/// Refused unless the capability is there; those with an empty one are refused to all.
const REFUSED: [(&str, &[&str]); 10] = [
    (
        "",
        &[
            "_sysctl",
            "add_key",
            "create_module",
            "get_kernel_syms",
            "get_mempolicy",
            "io_uring_enter",
            "io_uring_register",
            "io_uring_setup",
            "kexec_file_load",
            "kexec_load",
            "keyctl",
            "mbind",
            "migrate_pages",
            "move_pages",
            "nfsservctl",
            "query_module",
            "request_key",
            "set_mempolicy",
            "swapoff",
            "swapon",
            "sysfs",
            "uselib",
            "userfaultfd",
            "ustat",
            "vm86",
            "vm86old",
        ],
    ),
    (
        "SYS_ADMIN",
        &[
            "bpf",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "perf_event_open",
            "pivot_root",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    ("SYS_BOOT", &["reboot"]),
    ("SYS_MODULE", &["delete_module", "finit_module", "init_module"]),
    ("SYS_PACCT", &["acct"]),
    ("SYS_RAWIO", &["ioperm", "iopl"]),
    ("SYS_TIME", &["clock_adjtime", "clock_settime", "settimeofday", "stime"]),
    ("SYS_TTY_CONFIG", &["vhangup"]),
    ("DAC_READ_SEARCH", &["open_by_handle_at"]),
    ("SYS_PTRACE", &["kcmp", "process_madvise"]),
];

/// Namespaces that `clone` may not make without `SYS_ADMIN`.
const CLONE_NAMESPACES: u64 = 0x7e02_0000;

/// The filter for a container with these capabilities (names without prefix).
pub(crate) fn default_profile(capabilities: &[String]) -> Value {
    let has = |name: &str| capabilities.iter().any(|other| other == name);
    let names: Vec<&str> =
        REFUSED.iter().filter(|(capability, _)| !has(capability)).flat_map(|(_, names)| *names).copied().collect();
    let mut rules = vec![json!({ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 1 })];
    if !has("SYS_ADMIN") {
        // The flags of clone3 cannot be looked at; "not there" makes programs fall back to clone.
        rules.push(json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }));
        for bit in (0..64).map(|bit| 1_u64 << bit).filter(|bit| CLONE_NAMESPACES & bit != 0) {
            let argument = json!({ "index": 0, "value": bit, "valueTwo": bit, "op": "SCMP_CMP_MASKED_EQ" });
            rules.push(json!({ "names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": [argument] }));
        }
    }
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures(), "syscalls": rules })
}

fn architectures() -> Vec<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => vec!["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "aarch64" => vec!["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_opens_its_calls() {
        let plain = default_profile(&[]).to_string();
        assert!(plain.contains("\"mount\"") && plain.contains("clone3") && plain.contains("reboot"));
        let admin = default_profile(&["SYS_ADMIN".to_owned()]).to_string();
        assert!(!admin.contains("\"mount\"") && !admin.contains("clone3") && admin.contains("reboot"));
    }
}
