//! The downward API: fields of a pod and resources of a container as text.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, ResourceFieldSelector};

use crate::spec;
use crate::{qos, quantity};

/// Addresses that are known only when the sandbox is there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses {
    pub(crate) pod: Vec<String>,
    pub(crate) host: Vec<String>,
}

/// What the node can give, for limits that are not set.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Allocatable {
    pub(crate) cpu_milli: i64,
    pub(crate) memory: i64,
    pub(crate) ephemeral_storage: i64,
}

pub(crate) fn field(pod: &Pod, path: &str, addresses: &Addresses) -> Result<String, String> {
    let meta = &pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.annotations" => meta.annotations.as_ref(),
            "metadata.labels" => meta.labels.as_ref(),
            _ => return Err(format!("unsupported fieldPath: {path}")),
        };
        return Ok(map.and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    let spec = spec::pod_spec(pod);
    Ok(match path {
        "metadata.name" => spec::name(pod).to_owned(),
        "metadata.namespace" => spec::namespace(pod).to_owned(),
        "metadata.uid" => spec::uid(pod).to_owned(),
        "metadata.annotations" => lines(meta.annotations.as_ref()),
        "metadata.labels" => lines(meta.labels.as_ref()),
        "spec.nodeName" => spec.node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => spec.service_account_name.clone().unwrap_or_default(),
        "status.hostIP" => addresses.host.first().cloned().unwrap_or_default(),
        "status.hostIPs" => addresses.host.join(","),
        "status.podIP" => addresses.pod.first().cloned().unwrap_or_default(),
        "status.podIPs" => addresses.pod.join(","),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// `key="value"`, a line each, values quoted as Go does.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

pub(crate) fn resource(
    pod: &Pod,
    own: &str,
    selector: &ResourceFieldSelector,
    node: &Allocatable,
) -> Result<String, String> {
    let name = selector.container_name.as_deref().filter(|name| !name.is_empty()).unwrap_or(own);
    let entry = spec::find(pod, name).ok_or_else(|| format!("container {name} not found"))?;
    let container = &entry.container;
    let (kind, resource) =
        selector.resource.split_once('.').ok_or_else(|| format!("unsupported resource {}", selector.resource))?;
    let set = match kind {
        "limits" => qos::limit(container, resource),
        _ => qos::request(container, resource),
    };
    let milli = match (set.and_then(quantity::milli), kind, resource) {
        (Some(milli), ..) => milli,
        (None, "limits", "cpu") => node.cpu_milli,
        (None, "limits", "memory") => node.memory.saturating_mul(1000),
        (None, "limits", "ephemeral-storage") => node.ephemeral_storage.saturating_mul(1000),
        (None, ..) => 0,
    };
    let divisor = selector.divisor.as_ref().and_then(quantity::milli).filter(|divisor| *divisor > 0).unwrap_or(1000);
    let whole = milli / divisor + i64::from(milli % divisor != 0);
    Ok(whole.to_string())
}
