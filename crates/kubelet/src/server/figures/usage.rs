//! What containers, pods and the node use, as of now.

use std::collections::BTreeMap;
use std::collections::HashMap;

use cri::CriError;
use cri::v1::{ContainerStats, UInt64Value};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;

use crate::container::labels;
use crate::context::Context;
use crate::pods::Pods;
use crate::spec;

/// CPU and memory of something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) time: Timestamp,
    /// Nanoseconds of CPU time since the start.
    pub(super) cpu: u64,
    /// Billionths of a core, of late.
    pub(super) rate: Option<u64>,
    pub(super) memory: u64,
    pub(super) working_set: u64,
    pub(super) rss: u64,
    pub(super) page_faults: u64,
    pub(super) major_page_faults: u64,
}

#[derive(Debug, Clone)]
pub(super) struct ContainerUsage {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) usage: Usage,
    pub(super) started: Option<Timestamp>,
    /// Bytes written by the container to its own file system.
    pub(super) written: Option<u64>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct PodUsage {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) containers: Vec<ContainerUsage>,
}

impl PodUsage {
    /// All containers together.
    pub(super) fn total(&self) -> Usage {
        self.containers.iter().map(|container| container.usage).fold(Usage::default(), |sum, one| Usage {
            time: sum.time.max(one.time),
            cpu: sum.cpu + one.cpu,
            rate: match (sum.rate, one.rate) {
                (Some(sum), Some(one)) => Some(sum + one),
                (sum, one) => sum.or(one),
            },
            memory: sum.memory + one.memory,
            working_set: sum.working_set + one.working_set,
            rss: sum.rss + one.rss,
            page_faults: sum.page_faults + one.page_faults,
            major_page_faults: sum.major_page_faults + one.major_page_faults,
        })
    }
}

/// CPU time at the last look, from which the rate since then comes.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    last: Mutex<HashMap<String, Sample>>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    nanoseconds: i64,
    cpu: u64,
    rate: Option<u64>,
}

/// A rate over less says little.
const SPAN: i64 = 1_000_000_000;

impl Rates {
    /// Billionths of a core since the last look that was long enough ago.
    fn rate(&self, id: &str, nanoseconds: i64, cpu: u64) -> Option<u64> {
        let mut last = self.last.lock();
        let Some(before) = last.get(id).copied() else {
            last.insert(id.to_owned(), Sample { nanoseconds, cpu, rate: None });
            return None;
        };
        let span = nanoseconds.saturating_sub(before.nanoseconds);
        if span < SPAN {
            return before.rate;
        }
        let used = u128::from(cpu.saturating_sub(before.cpu)) * 1_000_000_000;
        let rate = u64::try_from(used / u128::from(span.unsigned_abs())).ok();
        last.insert(id.to_owned(), Sample { nanoseconds, cpu, rate });
        rate
    }

    /// What is gone is forgotten.
    fn keep(&self, wanted: impl Fn(&str) -> bool) {
        self.last.lock().retain(|id, _| id.is_empty() || wanted(id));
    }
}

fn number(value: Option<&UInt64Value>) -> u64 {
    value.map_or(0, |value| value.value)
}

fn usage(stats: &ContainerStats, rates: &Rates, id: &str) -> Usage {
    let (cpu, memory) = (stats.cpu.unwrap_or_default(), stats.memory.unwrap_or_default());
    let time = i128::from(cpu.timestamp.max(memory.timestamp));
    let used = number(cpu.usage_core_nano_seconds.as_ref());
    let told = cpu.usage_nano_cores.map(|rate| rate.value);
    Usage {
        time: Timestamp::from_nanosecond(time).unwrap_or_default(),
        cpu: used,
        rate: told.or_else(|| rates.rate(id, cpu.timestamp, used)),
        memory: number(memory.usage_bytes.as_ref()),
        working_set: number(memory.working_set_bytes.as_ref()),
        rss: number(memory.rss_bytes.as_ref()),
        page_faults: number(memory.page_faults.as_ref()),
        major_page_faults: number(memory.major_page_faults.as_ref()),
    }
}

/// Every pod of the node that has running containers.
pub(super) async fn pods(context: &Context, pods: &Pods, rates: &Rates) -> Result<Vec<PodUsage>, CriError> {
    let stats = context.engine.list_container_stats(None).await?;
    let known: HashMap<String, _> = pods.list().into_iter().map(|pod| (spec::uid(&pod).to_owned(), pod)).collect();
    let mut found: BTreeMap<String, PodUsage> = BTreeMap::new();
    for one in &stats {
        let attributes = one.attributes.clone().unwrap_or_default();
        let label = |key: &str| attributes.labels.get(key).cloned().unwrap_or_default();
        let (uid, name) = (label(labels::POD_UID), label(labels::CONTAINER_NAME));
        let started = known.get(&uid).and_then(|pod| started(pod, &name));
        // One that has ended has nothing to tell any more.
        if started.is_none() && known.contains_key(&uid) {
            continue;
        }
        let pod = found.entry(uid.clone()).or_insert_with(|| PodUsage {
            namespace: label(labels::POD_NAMESPACE),
            name: label(labels::POD_NAME),
            uid,
            containers: Vec::new(),
        });
        let written = one.writable_layer.as_ref().and_then(|layer| layer.used_bytes.map(|bytes| bytes.value));
        let usage = usage(one, rates, &attributes.id);
        pod.containers.push(ContainerUsage { id: attributes.id, name, usage, started, written });
    }
    let found: Vec<PodUsage> = found.into_values().collect();
    rates.keep(|id| found.iter().any(|pod| pod.containers.iter().any(|container| container.id == id)));
    Ok(found)
}

/// Since when a container runs.
fn started(pod: &Pod, name: &str) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    let mut all = lists.into_iter().flatten().flatten();
    let running = all.find(|status| status.name == name)?.state.as_ref()?.running.as_ref()?;
    running.started_at.as_ref().map(|time| time.0)
}

/// The whole machine.
pub(super) fn node(rates: &Rates) -> Usage {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let now = Timestamp::now();
    let mut usage = of_tables(&read("/proc/stat"), &read("/proc/meminfo"));
    usage.time = now;
    usage.rate = i64::try_from(now.as_nanosecond()).ok().and_then(|now| rates.rate("", now, usage.cpu));
    usage
}

fn of_tables(stat: &str, meminfo: &str) -> Usage {
    // In hundredths of a second: user, nice, system, idle, iowait, irq, softirq, steal.
    const TICK: u64 = 10_000_000;
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().take(8).filter_map(|word| word.parse().ok()).collect();
    let busy: u64 = ticks.iter().enumerate().filter(|(index, _)| !matches!(index, 3 | 4)).map(|(_, ticks)| ticks).sum();
    let field = |name: &str| {
        let value = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    Usage {
        cpu: busy * TICK,
        memory: field("MemTotal").saturating_sub(field("MemFree")),
        working_set: field("MemTotal").saturating_sub(field("MemAvailable")),
        rss: field("AnonPages"),
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_was_used_since_the_last_look() {
        let rates = Rates::default();
        assert_eq!(rates.rate("a", 0, 0), None);
        assert_eq!(rates.rate("a", 2_000_000_000, 500_000_000), Some(250_000_000));
        assert_eq!(rates.rate("a", 2_100_000_000, 600_000_000), Some(250_000_000), "too soon for another");
        rates.keep(|_| false);
        assert_eq!(rates.rate("a", 9_000_000_000, 0), None);
    }

    #[test]
    fn the_node_is_read_from_the_kernel_s_tables() {
        let stat = "cpu  100 0 50 9999 7 1 2 3 0 0\ncpu0 1 1 1 1\n";
        let usage = of_tables(stat, "MemTotal:  1000 kB\nMemFree: 100 kB\nMemAvailable:  600 kB\nAnonPages: 50 kB\n");
        assert_eq!(usage.cpu, 1_560_000_000);
        assert_eq!((usage.memory, usage.working_set, usage.rss), (900 << 10, 400 << 10, 50 << 10));
    }
}
