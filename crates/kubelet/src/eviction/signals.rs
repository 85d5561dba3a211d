//! What is short on the node: what is left of each resource, and where the limits are. Names and defaults are upstream's
//! (Kubernetes documentation, "Node-pressure Eviction").

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::node::Facts;

/// Something that can run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Memory,
    Storage,
    Inodes,
    Pids,
}

impl Signal {
    const ALL: [Self; 4] = [Self::Memory, Self::Storage, Self::Inodes, Self::Pids];

    /// As thresholds are written. Images and everything else share a file system here, so both names mean it.
    fn thresholds(self) -> &'static [&'static str] {
        match self {
            Self::Memory => &["memory.available"],
            Self::Storage => &["nodefs.available", "imagefs.available"],
            Self::Inodes => &["nodefs.inodesFree", "imagefs.inodesFree"],
            Self::Pids => &["pid.available"],
        }
    }

    /// As a pod that has to go is told.
    pub(crate) fn resource(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Storage => "ephemeral-storage",
            Self::Inodes => "inodes",
            Self::Pids => "pids",
        }
    }

    pub(crate) fn is_disk(self) -> bool {
        matches!(self, Self::Storage | Self::Inodes)
    }
}

/// A limit that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shortage {
    pub(crate) signal: Signal,
    /// Bytes or pieces.
    pub(crate) threshold: i64,
    pub(crate) available: i64,
}

/// What of one resource is there.
#[derive(Debug, Clone, Copy)]
struct Level {
    available: i64,
    capacity: i64,
}

/// Which limits are passed now.
pub(crate) fn shortages(limits: &BTreeMap<String, String>, facts: &Facts, folder: &Path) -> Vec<Shortage> {
    passed(limits, |signal| level(signal, facts, folder))
}

fn passed(limits: &BTreeMap<String, String>, level: impl Fn(Signal) -> Option<Level>) -> Vec<Shortage> {
    let of = |signal: Signal| {
        let limits: Vec<&String> = signal.thresholds().iter().filter_map(|name| limits.get(*name)).collect();
        let level = if limits.is_empty() { None } else { level(signal) }?;
        let threshold = limits.into_iter().map(|limit| crate::node::threshold(Some(limit), level.capacity)).max()?;
        (level.available < threshold).then_some(Shortage { signal, threshold, available: level.available })
    };
    Signal::ALL.into_iter().filter_map(of).collect()
}

fn level(signal: Signal, facts: &Facts, folder: &Path) -> Option<Level> {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    match signal {
        Signal::Memory => Some(Level { available: crate::node::memory_field("MemAvailable"), capacity: facts.memory }),
        Signal::Storage => {
            let stat = nix::sys::statvfs::statvfs(folder).ok()?;
            let bytes = |blocks: u64| number(blocks.saturating_mul(stat.fragment_size()));
            Some(Level { available: bytes(stat.blocks_available()), capacity: bytes(stat.blocks()) })
        }
        Signal::Inodes => {
            let stat = nix::sys::statvfs::statvfs(folder).ok()?;
            // Some file systems do not count them.
            (stat.files() > 0)
                .then(|| Level { available: number(stat.files_available()), capacity: number(stat.files()) })
        }
        Signal::Pids => {
            let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<i64>().ok();
            let capacity = number("/proc/sys/kernel/pid_max")?.min(number("/proc/sys/kernel/threads-max")?);
            let load = std::fs::read_to_string("/proc/loadavg").ok()?;
            let taken: i64 = load.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()?;
            Some(Level { available: capacity - taken, capacity })
        }
    }
}

/// Whether an eviction limit means something: a known signal, and a quantity or a percentage.
pub fn is_eviction_limit(signal: &str, quantity: &str) -> bool {
    let known = Signal::ALL.iter().any(|known| known.thresholds().contains(&signal));
    let amount = match quantity.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().is_ok_and(|percent| (0.0..=100.0).contains(&percent)),
        None => crate::quantity::value(&Quantity(quantity.to_owned())).is_some_and(|value| value >= 0),
    };
    known && amount
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_quantities_or_parts() {
        let limits = |text: &str| BTreeMap::from([("memory.available".to_owned(), text.to_owned())]);
        let short =
            |text: &str| passed(&limits(text), |_| Some(Level { available: 99 << 20, capacity: 1 << 30 })).pop();
        assert_eq!(
            short("100Mi"),
            Some(Shortage { signal: Signal::Memory, threshold: 100 << 20, available: 99 << 20 })
        );
        assert_eq!(short("99Mi"), None);
        assert_eq!(short("9%"), None);
        assert!(short("10%").is_some());
        assert!(passed(&BTreeMap::new(), |_| Some(Level { available: 0, capacity: 1 })).is_empty());
        assert!(is_eviction_limit("nodefs.available", "10%") && is_eviction_limit("memory.available", "1Gi"));
        assert!(!is_eviction_limit("nodefs.available", "110%") && !is_eviction_limit("memory", "1Gi"));
        assert!(!is_eviction_limit("pid.available", "many"));
    }
}
