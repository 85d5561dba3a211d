//! Quality-of-service class of a pod.

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::{quantity, spec};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl Class {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// The class that the API server wrote, or else what follows from the containers.
pub(crate) fn class(pod: &Pod) -> Class {
    match pod.status.as_ref().and_then(|status| status.qos_class.as_deref()) {
        Some("Guaranteed") => return Class::Guaranteed,
        Some("Burstable") => return Class::Burstable,
        Some("BestEffort") => return Class::BestEffort,
        _ => {}
    }
    let spec = spec::pod_spec(pod);
    let containers: Vec<&Container> = spec.containers.iter().chain(spec.init_containers.iter().flatten()).collect();
    let any = containers.iter().any(|container| ["cpu", "memory"].iter().any(|name| has(container, name)));
    if !any {
        return Class::BestEffort;
    }
    let all = containers.iter().all(|container| ["cpu", "memory"].iter().all(|name| equal(container, name)));
    if all { Class::Guaranteed } else { Class::Burstable }
}

pub(crate) fn request<'a>(container: &'a Container, name: &str) -> Option<&'a Quantity> {
    requests(container.resources.as_ref()?, name)
}

pub(crate) fn limit<'a>(container: &'a Container, name: &str) -> Option<&'a Quantity> {
    container.resources.as_ref()?.limits.as_ref()?.get(name)
}

fn requests<'a>(resources: &'a ResourceRequirements, name: &str) -> Option<&'a Quantity> {
    resources.requests.as_ref()?.get(name)
}

fn has(container: &Container, name: &str) -> bool {
    let set = |quantity: Option<&Quantity>| quantity.and_then(quantity::milli).is_some_and(|value| value > 0);
    set(request(container, name)) || set(limit(container, name))
}

fn equal(container: &Container, name: &str) -> bool {
    let Some(limit) = limit(container, name).and_then(quantity::milli).filter(|value| *value > 0) else { return false };
    request(container, name).and_then(quantity::milli).is_none_or(|request| request == limit)
}
