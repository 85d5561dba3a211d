//! What a pod costs.

use std::collections::{BTreeMap, BTreeSet};

use api::Quantity;
use serde_json::Value;

use super::{Amounts, amounts};

const COMPUTE: [&str; 9] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];

pub(super) fn is_compute(name: &str) -> bool {
    COMPUTE.contains(&name) || name.starts_with("requests.") || name.starts_with("hugepages-")
}

fn containers<'a>(pod: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    pod.get("spec").and_then(|spec| spec.get(list)).and_then(Value::as_array).into_iter().flatten()
}

fn add(sum: &mut Amounts, more: Amounts) {
    for (name, amount) in more {
        let before = sum.get(&name).copied().unwrap_or_default();
        sum.insert(name, before + amount);
    }
}

fn at_least(sum: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let before = sum.get(name).copied().unwrap_or_default();
        sum.insert(name.clone(), before.max(*amount));
    }
}

/// Requests or limits of a whole pod: of all containers together, or of one that runs before them if that is more.
fn total(pod: &Value, side: &str) -> Amounts {
    let of = |container: &Value| amounts(container.get("resources").and_then(|resources| resources.get(side)));
    let mut sum = Amounts::new();
    containers(pod, "containers").for_each(|container| add(&mut sum, of(container)));
    let (mut beside, mut peak) = (Amounts::new(), Amounts::new());
    for container in containers(pod, "initContainers") {
        let mut here = of(container);
        if api::meta::at(container, "/restartPolicy") == "Always" {
            add(&mut beside, here);
        } else {
            add(&mut here, beside.clone());
            at_least(&mut peak, &here);
        }
    }
    add(&mut sum, beside);
    at_least(&mut sum, &peak);
    for (name, amount) in amounts(pod.pointer("/spec/resources").and_then(|resources| resources.get(side))) {
        sum.insert(name, amount);
    }
    if side == "requests" || !sum.is_empty() {
        add(&mut sum, amounts(pod.pointer("/spec/overhead")));
    }
    sum
}

fn has_ended(pod: &Value) -> bool {
    matches!(api::meta::at(pod, "/status/phase"), "Succeeded" | "Failed")
}

pub(super) fn usage(pod: &Value) -> Amounts {
    if has_ended(pod) {
        return Amounts::new();
    }
    let mut used = Amounts::from([("pods".to_owned(), Quantity::units(1))]);
    for (name, amount) in total(pod, "requests") {
        used.insert(format!("requests.{name}"), amount);
        used.insert(name, amount);
    }
    used.extend(total(pod, "limits").into_iter().map(|(name, amount)| (format!("limits.{name}"), amount)));
    used
}

/// What a quota wants every container to say and some do not, by upstream's wording; none if all is said.
pub fn unsaid<'a>(pod: &Value, hard: impl Iterator<Item = &'a str>) -> Option<String> {
    let wanted: BTreeSet<&str> = hard.filter(|name| COMPUTE.contains(name) && !name.contains("storage")).collect();
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in containers(pod, "containers").chain(containers(pod, "initContainers")) {
        for name in &wanted {
            let (side, resource) = name.split_once('.').unwrap_or(("requests", name));
            if container.pointer(&format!("/resources/{side}/{resource}")).is_none() {
                missing.entry(name).or_default().insert(api::meta::at(container, "/name"));
            }
        }
    }
    let texts = missing
        .into_iter()
        .map(|(name, containers)| format!("{name} for: {}", containers.into_iter().collect::<Vec<_>>().join(",")));
    let texts = texts.collect::<Vec<_>>().join("; ");
    (!texts.is_empty()).then(|| format!("must specify {texts}"))
}
