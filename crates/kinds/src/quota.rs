//! What an object costs of a ResourceQuota, and which quotas it counts towards.
//!
//! <https://kubernetes.io/docs/concepts/policy/resource-quotas/>

mod pod;
mod scope;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use api::Quantity;
use serde_json::Value;

pub use pod::unsaid;
pub use scope::counts;

/// Amounts by the names that quotas have for them.
pub type Amounts = BTreeMap<String, Quantity>;

/// The amounts of a map of an object.
pub fn amounts(map: Option<&Value>) -> Amounts {
    let entries = map.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(name, amount)| Some((name.clone(), crate::check::amount(amount)?))).collect()
}

/// The name under which the number of objects of a resource is counted.
fn count_name(group: &str, plural: &str) -> String {
    if group.is_empty() { format!("count/{plural}") } else { format!("count/{plural}.{group}") }
}

/// Resources that have a name of their own in quotas, beside `count/…`.
const NAMED: [&str; 7] =
    ["pods", "services", "persistentvolumeclaims", "configmaps", "secrets", "replicationcontrollers", "resourcequotas"];

/// What an object of this resource costs.
pub fn usage(group: &str, plural: &str, object: &Value) -> Amounts {
    let one = Quantity::units(1);
    let mut used = Amounts::from([(count_name(group, plural), one)]);
    if !group.is_empty() {
        return used;
    }
    match plural {
        "pods" => used.extend(pod::usage(object)),
        "services" => used.extend(service(object)),
        "persistentvolumeclaims" => used.extend(claim(object)),
        _ if NAMED.contains(&plural) => drop(used.insert(plural.to_owned(), one)),
        _ => {}
    }
    used
}

fn service(service: &Value) -> Amounts {
    let units = |number: usize| Quantity::units(i64::try_from(number).unwrap_or(i64::MAX));
    let kind = api::meta::at(service, "/spec/type");
    let balanced = kind == "LoadBalancer";
    let allocates = service.pointer("/spec/allocateLoadBalancerNodePorts").and_then(Value::as_bool) != Some(false);
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).map_or(0, Vec::len);
    let exposed = if kind == "NodePort" || (balanced && allocates) { ports } else { 0 };
    Amounts::from([
        ("services".to_owned(), units(1)),
        ("services.nodeports".to_owned(), units(exposed)),
        ("services.loadbalancers".to_owned(), units(usize::from(balanced))),
    ])
}

fn claim(claim: &Value) -> Amounts {
    let storage = claim.pointer("/spec/resources/requests/storage").and_then(crate::check::amount).unwrap_or_default();
    let mut used = Amounts::from([
        ("persistentvolumeclaims".to_owned(), Quantity::units(1)),
        ("requests.storage".to_owned(), storage),
    ]);
    let class = api::meta::at(claim, "/spec/storageClassName");
    if !class.is_empty() {
        used.insert(format!("{class}.storageclass.storage.k8s.io/requests.storage"), storage);
        used.insert(format!("{class}.storageclass.storage.k8s.io/persistentvolumeclaims"), Quantity::units(1));
    }
    used
}

/// The resource whose objects a name counts: group and plural.
pub fn counted(name: &str) -> Option<(&str, &str)> {
    if let Some(counted) = name.strip_prefix("count/") {
        return Some(counted.split_once('.').map_or(("", counted), |(plural, group)| (group, plural)));
    }
    Some((
        "",
        match name {
            "services.nodeports" | "services.loadbalancers" => "services",
            "requests.storage" => "persistentvolumeclaims",
            _ if name.contains(".storageclass.storage.k8s.io/") => "persistentvolumeclaims",
            _ if NAMED.contains(&name) => name,
            _ if pod::is_compute(name) => "pods",
            _ => return None,
        },
    ))
}

/// An amount as people write it: bytes by powers of two, what is counted and processors by tens.
pub fn spelled(name: &str, amount: Quantity) -> String {
    if name.ends_with("memory") || name.ends_with("storage") || name.contains("hugepages-") {
        amount.to_binary_string()
    } else {
        amount.to_string()
    }
}
