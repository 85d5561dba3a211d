//! What /proc says about processes.

use std::fs;
use std::path::Path;

/// Processes whose executable is `binary`.
pub(crate) fn of_binary(binary: &Path) -> Vec<i32> {
    pids().filter(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == binary)).collect()
}

/// Processes with exactly this command line.
pub(crate) fn with_arguments(arguments: &[&str]) -> Vec<i32> {
    let wanted = arguments.iter().flat_map(|a| a.bytes().chain([0])).collect::<Vec<u8>>();
    pids().filter(|pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == wanted)).collect()
}

/// Whether a process was started with this among its arguments.
pub(crate) fn has_argument(pid: i32, part: &str) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|b| *b == 0).any(|argument| String::from_utf8_lossy(argument).contains(part))
}

/// Proportional set size in MiB.
pub(crate) fn pss(pid: i32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("Pss:"));
    let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// Processor time so far, in clock ticks of 10 ms.
pub(crate) fn ticks(pid: i32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = text.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    rest.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum()
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok())
}
