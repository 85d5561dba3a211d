//! Amounts of what nodes have and pods ask for.

use std::collections::BTreeMap;

use api::Quantity;
use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

/// What a container without a request counts for when nodes are compared: 100 m of CPU, 200 MiB.
const DEFAULT_MILLI_CPU: i64 = 100;
const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// CPU in thousandths, the rest in units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    pub(crate) milli_cpu: i64,
    pub(crate) memory: i64,
    pub(crate) ephemeral_storage: i64,
    pub(crate) scalars: BTreeMap<String, i64>,
}

impl Resources {
    pub(crate) fn parse(amounts: Option<&BTreeMap<String, Text>>) -> Self {
        let mut resources = Self::default();
        for (name, text) in amounts.into_iter().flatten() {
            let Ok(amount) = Quantity::parse(&text.0) else { continue };
            match name.as_str() {
                "cpu" => resources.milli_cpu = amount.milli_value(),
                "memory" => resources.memory = amount.value(),
                "ephemeral-storage" => resources.ephemeral_storage = amount.value(),
                "pods" => {}
                _ => drop(resources.scalars.insert(name.clone(), amount.value())),
            }
        }
        resources
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.milli_cpu += other.milli_cpu;
        self.memory += other.memory;
        self.ephemeral_storage += other.ephemeral_storage;
        for (name, amount) in &other.scalars {
            *self.scalars.entry(name.clone()).or_default() += amount;
        }
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        self.milli_cpu -= other.milli_cpu;
        self.memory -= other.memory;
        self.ephemeral_storage -= other.ephemeral_storage;
        for (name, amount) in &other.scalars {
            *self.scalars.entry(name.clone()).or_default() -= amount;
        }
    }

    fn raise(&mut self, other: &Self) {
        self.milli_cpu = self.milli_cpu.max(other.milli_cpu);
        self.memory = self.memory.max(other.memory);
        self.ephemeral_storage = self.ephemeral_storage.max(other.ephemeral_storage);
        for (name, amount) in &other.scalars {
            let own = self.scalars.entry(name.clone()).or_default();
            *own = (*own).max(*amount);
        }
    }
}

/// What a pod asks for, exactly, and as it counts in comparisons.
pub(crate) fn of_pod(spec: &PodSpec) -> (Resources, Resources) {
    (total(spec, |own| own), total(spec, with_defaults))
}

fn with_defaults(mut own: Resources) -> Resources {
    if own.milli_cpu == 0 {
        own.milli_cpu = DEFAULT_MILLI_CPU;
    }
    if own.memory == 0 {
        own.memory = DEFAULT_MEMORY;
    }
    own
}

fn requests(resources: Option<&ResourceRequirements>) -> Resources {
    Resources::parse(resources.and_then(|r| r.requests.as_ref()))
}

/// The larger of what runs at the end and what runs at any moment of initialization, sidecars counted in both.
fn total(spec: &PodSpec, count: impl Fn(Resources) -> Resources) -> Resources {
    let of = |container: &Container| count(requests(container.resources.as_ref()));
    let mut sum = Resources::default();
    spec.containers.iter().for_each(|container| sum.add(&of(container)));
    let mut sidecars = Resources::default();
    let mut peak = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let mut now = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            sum.add(&now);
            sidecars.add(&now);
            peak.raise(&sidecars);
        } else {
            now.add(&sidecars);
            peak.raise(&now);
        }
    }
    sum.raise(&peak);
    override_by(&mut sum, spec.resources.as_ref());
    sum.add(&Resources::parse(spec.overhead.as_ref()));
    sum
}

/// Requests of the pod as a whole come before those of its containers.
fn override_by(sum: &mut Resources, whole: Option<&ResourceRequirements>) {
    let whole = requests(whole);
    if whole.milli_cpu > 0 {
        sum.milli_cpu = whole.milli_cpu;
    }
    if whole.memory > 0 {
        sum.memory = whole.memory;
    }
    sum.scalars.extend(whole.scalars);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> (Resources, Resources) {
        of_pod(&serde_json::from_value(spec).unwrap())
    }

    fn container(cpu: &str, memory: &str) -> serde_json::Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    #[test]
    fn containers_are_summed_and_a_larger_init_container_wins() {
        let (sum, _) = pod(json!({"containers": [container("100m", "1Mi"), container("200m", "1Mi")],
            "initContainers": [container("250m", "9Mi")]}));
        assert_eq!((sum.milli_cpu, sum.memory), (300, 9 << 20));
    }

    #[test]
    fn sidecars_count_with_what_starts_after_them_and_with_the_containers() {
        let mut sidecar = container("100m", "1Mi");
        sidecar["restartPolicy"] = json!("Always");
        let (sum, _) = pod(json!({"containers": [container("100m", "1Mi")],
            "initContainers": [sidecar, container("500m", "1Mi")], "overhead": {"cpu": "10m"}}));
        assert_eq!((sum.milli_cpu, sum.memory), (610, 2 << 20));
    }

    #[test]
    fn a_container_without_requests_counts_by_default_only_in_comparisons() {
        let (exact, counted) = pod(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
        assert_eq!(exact, Resources::default());
        assert_eq!((counted.milli_cpu, counted.memory), (200, 400 << 20));
    }

    #[test]
    fn extended_resources_and_pod_level_requests() {
        let (sum, _) = pod(json!({"containers": [{"name": "a", "resources": {"requests": {"example.com/gpu": "2"}}}],
            "resources": {"requests": {"cpu": "2"}}}));
        assert_eq!((sum.milli_cpu, sum.scalars["example.com/gpu"]), (2000, 2));
    }
}
