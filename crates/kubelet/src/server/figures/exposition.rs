//! `/metrics/resource` and `/metrics/cadvisor`, in the text format of Prometheus.

use std::fmt::Write;

use jiff::Timestamp;

use super::usage::{ContainerUsage, PodUsage, Usage};

/// A family of metrics.
struct Family {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
}

const fn family(name: &'static str, help: &'static str, kind: &'static str) -> Family {
    Family { name, help, kind }
}

/// A sample: labels, value, time.
type Sample = (String, f64, Timestamp);

fn put(out: &mut String, family: &Family, samples: impl IntoIterator<Item = Sample>) {
    let mut samples = samples.into_iter().peekable();
    if samples.peek().is_none() {
        return;
    }
    let Family { name, help, kind } = family;
    let _infallible = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    for (labels, value, time) in samples {
        let _infallible = writeln!(out, "{name}{labels} {value} {}", time.as_millisecond());
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn of_pod(pod: &PodUsage) -> String {
    format!("{{namespace=\"{}\",pod=\"{}\"}}", pod.namespace, pod.name)
}

fn of_container(pod: &PodUsage, container: &ContainerUsage) -> String {
    format!("{{container=\"{}\",namespace=\"{}\",pod=\"{}\"}}", container.name, pod.namespace, pod.name)
}

fn containers<'a>(
    pods: &'a [PodUsage],
    labels: impl Fn(&PodUsage, &ContainerUsage) -> String + Copy + 'a,
    value: impl Fn(&ContainerUsage) -> Option<f64> + Copy + 'a,
) -> impl Iterator<Item = Sample> + 'a {
    pods.iter().flat_map(move |pod| {
        pod.containers.iter().filter_map(move |one| Some((labels(pod, one), value(one)?, one.usage.time)))
    })
}

/// What upstream's metrics-server reads.
pub(super) fn resource(node: &Usage, pods: &[PodUsage]) -> String {
    let mut out = String::new();
    let started = |one: &ContainerUsage| one.started.map(|time| time.as_millisecond() as f64 / 1000.0);
    let cpu = family("container_cpu_usage_seconds_total", "Cumulative cpu time consumed by the container", "counter");
    put(&mut out, &cpu, containers(pods, of_container, |one| Some(seconds(one.usage.cpu))));
    let memory = family("container_memory_working_set_bytes", "Current working set of the container", "gauge");
    put(&mut out, &memory, containers(pods, of_container, |one| Some(one.usage.working_set as f64)));
    let start = family("container_start_time_seconds", "Start time of the container since unix epoch", "gauge");
    put(&mut out, &start, containers(pods, of_container, started));
    let own = |value: f64| [(String::new(), value, node.time)];
    let cpu = family("node_cpu_usage_seconds_total", "Cumulative cpu time consumed by the node", "counter");
    put(&mut out, &cpu, own(seconds(node.cpu)));
    let memory = family("node_memory_working_set_bytes", "Current working set of the node", "gauge");
    put(&mut out, &memory, own(node.working_set as f64));
    let totals: Vec<(String, Usage)> = pods.iter().map(|pod| (of_pod(pod), pod.total())).collect();
    let each = |value: fn(&Usage) -> f64| {
        totals.iter().map(|(labels, total)| (labels.clone(), value(total), total.time)).collect::<Vec<_>>()
    };
    let cpu = family("pod_cpu_usage_seconds_total", "Cumulative cpu time consumed by the pod", "counter");
    put(&mut out, &cpu, each(|total| seconds(total.cpu)));
    let memory = family("pod_memory_working_set_bytes", "Current working set of the pod", "gauge");
    put(&mut out, &memory, each(|total| total.working_set as f64));
    out.push_str(
        "# HELP resource_scrape_error 1 if there was an error while getting container metrics, 0 otherwise\n\
         # TYPE resource_scrape_error gauge\nresource_scrape_error 0\n",
    );
    out
}

/// The names that dashboards know from cAdvisor, of containers.
pub(super) fn cadvisor(node: &Usage, pods: &[PodUsage], cores: usize, memory: i64) -> String {
    let mut out = String::new();
    let labels = |pod: &PodUsage, one: &ContainerUsage| {
        let (container, namespace, name) = (&one.name, &pod.namespace, &pod.name);
        format!(
            "{{container=\"{container}\",id=\"{0}\",name=\"{0}\",namespace=\"{namespace}\",pod=\"{name}\"}}",
            one.id
        )
    };
    type Value = fn(&ContainerUsage) -> Option<f64>;
    let families: [(Family, Value); 7] = [
        (family("container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", "counter"), |one| {
            Some(seconds(one.usage.cpu))
        }),
        (family("container_fs_usage_bytes", "Number of bytes that are consumed by the container.", "gauge"), |one| {
            one.written.map(|bytes| bytes as f64)
        }),
        (family("container_memory_failures_total", "Cumulative count of page faults.", "counter"), |one| {
            Some(one.usage.page_faults as f64)
        }),
        (family("container_memory_rss", "Size of RSS in bytes.", "gauge"), |one| Some(one.usage.rss as f64)),
        (family("container_memory_usage_bytes", "Current memory usage in bytes.", "gauge"), |one| {
            Some(one.usage.memory as f64)
        }),
        (family("container_memory_working_set_bytes", "Current working set in bytes.", "gauge"), |one| {
            Some(one.usage.working_set as f64)
        }),
        (family("container_start_time_seconds", "Start time since unix epoch in seconds.", "gauge"), |one| {
            one.started.map(|time| time.as_millisecond() as f64 / 1000.0)
        }),
    ];
    for (family, value) in &families {
        put(&mut out, family, containers(pods, labels, *value));
    }
    let own = |value: f64| [(String::new(), value, node.time)];
    put(&mut out, &family("machine_cpu_cores", "Number of logical CPU cores.", "gauge"), own(cores as f64));
    put(&mut out, &family("machine_memory_bytes", "Amount of memory installed.", "gauge"), own(memory as f64));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_name_the_container_and_its_pod() {
        let usage = Usage { cpu: 1_500_000_000, working_set: 42, ..Usage::default() };
        let one = ContainerUsage { id: "i".into(), name: "c".into(), usage, started: None, written: None };
        let pod =
            PodUsage { namespace: "n".into(), name: "p".into(), uid: "u".into(), containers: vec![one.clone(), one] };
        let text = resource(&usage, &[pod]);
        for line in [
            "container_cpu_usage_seconds_total{container=\"c\",namespace=\"n\",pod=\"p\"} 1.5 0",
            "pod_memory_working_set_bytes{namespace=\"n\",pod=\"p\"} 84 0",
            "node_cpu_usage_seconds_total 1.5 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(!text.contains("container_start_time_seconds"));
    }
}
