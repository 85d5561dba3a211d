//! What the kernel has to let a node do (capabilities(7)).

use crate::problem::Problem;

/// Number and name of each capability that containers and their network need.
const NEEDED: [(u32, &str); 9] = [
    (0, "CAP_CHOWN"),
    (1, "CAP_DAC_OVERRIDE"),
    (5, "CAP_KILL"),
    (6, "CAP_SETGID"),
    (7, "CAP_SETUID"),
    (12, "CAP_NET_ADMIN"),
    (18, "CAP_SYS_CHROOT"),
    (21, "CAP_SYS_ADMIN"),
    (27, "CAP_MKNOD"),
];

/// Whether this process may do what a node does; says what is missing.
pub(crate) fn check() -> Result<(), Problem> {
    // A kernel that does not tell will say no soon enough.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let missing = missing(&status);
    if missing.is_empty() {
        return Ok(());
    }
    let remedy = "run it as root, or, in a container, as a privileged one";
    Err(Problem::new(format!("a node needs {}, which this process does not have; {remedy}", missing.join(", "))))
}

fn missing(status: &str) -> Vec<&'static str> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(effective) = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()) else {
        return Vec::new();
    };
    NEEDED.iter().filter(|(number, _)| effective >> number & 1 == 0).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert!(missing("CapEff:\t000001ffffffffff\n").is_empty());
        assert_eq!(missing("Name:\tx\nCapEff:\t000001ffffffefff\n"), ["CAP_NET_ADMIN"]);
        assert_eq!(missing("CapEff:\t0000000000000000\n").len(), NEEDED.len());
        assert!(missing("").is_empty());
    }
}
