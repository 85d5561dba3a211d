//! What a pod's status says to its controllers.

use std::sync::Arc;
use std::time::Duration;

use client::Informer;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

pub(crate) fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

pub(crate) fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Neither finished nor on its way out.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_terminating(pod) && !is_finished(pod)
}

pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let status = pod.status.as_ref()?;
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    condition(pod, "Ready").filter(|condition| condition.status == "True")
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    ready_condition(pod).is_some()
}

/// Since when the pod is ready.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    ready_condition(pod)?.last_transition_time.as_ref().map(|time| time.0)
}

/// Ready for at least so many seconds.
pub(crate) fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    is_ready(pod)
        && (min_ready_seconds == 0 || becomes_available(pod, min_ready_seconds, now).is_some_and(|d| d.is_zero()))
}

/// How long it takes a ready pod to become available if nothing happens.
pub(crate) fn becomes_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Option<Duration> {
    let passed = now.duration_since(ready_since(pod)?);
    let wanted = Duration::from_secs(u64::try_from(min_ready_seconds).unwrap_or(0));
    Some(wanted.saturating_sub(Duration::try_from(passed).unwrap_or_default()))
}

/// The node that the pod is on.
pub(crate) fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// Index of pods by their node.
pub(crate) const BY_NODE: &str = "node";

pub(crate) fn index_by_node(pods: &Informer<Pod>) {
    pods.add_index(BY_NODE, |pod| node(pod).map(str::to_owned).into_iter().collect());
}

/// Index of pods by the uid of their controller; those without one are found by their namespace.
pub(crate) const BY_OWNER: &str = "owner";

pub(crate) fn index_by_owner(pods: &Informer<Pod>) {
    pods.add_index(BY_OWNER, |pod| {
        let owner = super::owner::controller_of(&pod.metadata).map(|owner| owner.uid.clone());
        vec![owner.unwrap_or_else(|| orphans_of(pod.metadata.namespace.as_deref().unwrap_or_default()))]
    });
}

fn orphans_of(namespace: &str) -> String {
    // No uid has a slash.
    format!("/{namespace}")
}

/// The pods that an owner of this uid has, or may want to have.
pub(crate) fn candidates(pods: &Informer<Pod>, owner: &str, namespace: &str) -> Vec<Arc<Pod>> {
    let mut all = pods.by_index(BY_OWNER, owner);
    all.retain(|pod| pod.metadata.namespace.as_deref() == Some(namespace));
    all.extend(pods.by_index(BY_OWNER, &orphans_of(namespace)));
    all
}

pub(crate) fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.map(|status: &ContainerStatus| status.restart_count).max().unwrap_or(0)
}

/// A pod as a template says, for this owner.
pub(crate) fn from_template(template: &PodTemplateSpec, owner: OwnerReference, namespace: &str) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    // Upstream cuts nothing: the apiserver shortens what is too long.
    let prefix = format!("{}-", owner.name);
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(prefix),
            namespace: Some(namespace.to_owned()),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}
