//! Labels and annotations by which a kubelet knows its containers again.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::spec;

pub(crate) const POD_NAME: &str = "io.kubernetes.pod.name";
pub(crate) const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub(crate) const POD_UID: &str = "io.kubernetes.pod.uid";
pub(crate) const CONTAINER_NAME: &str = "io.kubernetes.container.name";
pub(crate) const HASH: &str = "io.kubernetes.container.hash";
pub(crate) const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
const MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
const MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
const GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";

pub(crate) fn sandbox(pod: &Pod) -> HashMap<String, String> {
    let own = pod.metadata.labels.iter().flatten().map(|(key, value)| (key.clone(), value.clone()));
    own.chain(identity(pod)).collect()
}

fn identity(pod: &Pod) -> impl Iterator<Item = (String, String)> {
    [(POD_NAME, spec::name(pod)), (POD_NAMESPACE, spec::namespace(pod)), (POD_UID, spec::uid(pod))]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into_iter()
}

pub(crate) fn sandbox_annotations(pod: &Pod) -> HashMap<String, String> {
    pod.metadata.annotations.iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
}

pub(crate) fn container(pod: &Pod, name: &str) -> HashMap<String, String> {
    identity(pod).chain([(CONTAINER_NAME.to_owned(), name.to_owned())]).collect()
}

pub(crate) fn annotations(pod: &Pod, container: &Container, attempt: u32) -> HashMap<String, String> {
    let mut annotations = HashMap::from([
        (HASH.to_owned(), spec::hash(container)),
        (RESTART_COUNT.to_owned(), attempt.to_string()),
        (MESSAGE_PATH.to_owned(), message_path(container).to_owned()),
        (MESSAGE_POLICY.to_owned(), container.termination_message_policy.clone().unwrap_or_else(|| "File".to_owned())),
    ]);
    if let Some(grace) = spec::pod_spec(pod).termination_grace_period_seconds {
        annotations.insert(GRACE.to_owned(), grace.to_string());
    }
    annotations
}

pub(crate) fn message_path(container: &Container) -> &str {
    container.termination_message_path.as_deref().unwrap_or("/dev/termination-log")
}
