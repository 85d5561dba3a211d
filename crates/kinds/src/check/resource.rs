//! Names of resources: of containers, of quotas, of limits.

use api::field::FieldError;
use api::names;

use super::{At, Errors};

/// What quotas and limits have names for, beside what containers use.
const STANDARD: &[&str] = &[
    "configmaps",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "requests.storage",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];

/// What is counted.
const COUNTED: &[&str] = &[
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];

/// What containers use of themselves.
pub(crate) fn of_containers(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
}

/// What a quota has a name for, without a prefix.
pub(crate) fn of_quotas(name: &str) -> bool {
    of_containers(name) || STANDARD.contains(&name) || name.starts_with("requests.hugepages-")
}

/// Amounts of it are whole numbers.
pub(crate) fn is_whole(name: &str) -> bool {
    COUNTED.contains(&name) || is_extended(name)
}

/// A resource of Kubernetes itself.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// A resource of somebody else, such as a device.
fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && names::qualified_name(&format!("requests.{name}")).is_ok()
}

/// Extended resources and huge pages are given whole or not at all.
pub(crate) fn overcommits(name: &str) -> bool {
    is_native(name) && !name.starts_with("hugepages-")
}

/// The name of any resource; `at` is told about.
pub(crate) fn any(name: &str, at: &At<'_>, errors: &mut Errors) -> bool {
    let why = match names::qualified_name(name) {
        Err(why) => why,
        Ok(()) if name.contains('/') || name == "storage" || of_quotas(name) => return true,
        Ok(()) => "must be a standard resource type or fully qualified".into(),
    };
    errors.push(FieldError::invalid(&at.path, &name.into(), why));
    false
}

/// The name of a resource that containers use.
pub(crate) fn container(name: &str, at: &At<'_>, errors: &mut Errors) {
    any(name, at, errors);
    if !name.contains('/') && !of_containers(name) {
        errors.push(FieldError::invalid(&at.path, &name.into(), "must be a standard resource for containers"));
    } else if !is_native(name) && !is_extended(name) {
        let why = "doesn't follow extended resource name standard";
        errors.push(FieldError::invalid(&at.path, &name.into(), why));
    }
}

/// The name of a resource that quotas limit.
pub(crate) fn quota(name: &str, at: &At<'_>, errors: &mut Errors) {
    any(name, at, errors);
    if !name.contains('/') && !of_quotas(name) {
        errors.push(FieldError::invalid(&at.path, &name.into(), "must be a standard resource for quota"));
    }
}
