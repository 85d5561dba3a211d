//! What the whole machine uses, from `/proc`.

use jiff::Timestamp;
use serde_json::{Value, json};

/// What the kernel counts processor time in.
const TICK_NANOSECONDS: u64 = 10_000_000;

/// The node's part of the summary; nothing where it cannot be read.
pub(super) fn figures(now: Timestamp) -> (Value, Value) {
    let (stat, memory) = (std::fs::read_to_string("/proc/stat"), std::fs::read_to_string("/proc/meminfo"));
    let cpu = stat.ok().and_then(|text| busy(&text));
    let memory = memory.ok().and_then(|text| working_set(&text));
    let cpu = cpu.map_or(Value::Null, |busy| json!({"time": now.to_string(), "usageCoreNanoSeconds": busy}));
    let memory = memory.map_or(Value::Null, |bytes| json!({"time": now.to_string(), "workingSetBytes": bytes}));
    (cpu, memory)
}

/// Nanoseconds of all processors in which they were not idle.
fn busy(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let at = |index: usize| ticks.get(index).copied().unwrap_or(0);
    let sum: u64 = [0, 1, 2, 5, 6, 7].into_iter().map(at).sum();
    sum.checked_mul(TICK_NANOSECONDS)
}

fn working_set(meminfo: &str) -> Option<u64> {
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    kib("MemTotal:")?.checked_sub(kib("MemAvailable:")?)?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_figures_are_read() {
        assert_eq!(busy("cpu  1 2 3 1000 50 4 5 6 0 0\ncpu0 1 1 1 1\n"), Some(21 * TICK_NANOSECONDS));
        assert_eq!(working_set("MemTotal:  100 kB\nMemFree: 1 kB\nMemAvailable:   60 kB\n"), Some(40 * 1024));
        assert_eq!(busy(""), None);
    }
}
