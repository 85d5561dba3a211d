//! What is written on Docker's containers, so that any process knows them again. Pure.

use std::collections::HashMap;

use cri::v1;

use crate::shared::{pack, unpack};

pub(super) const INSTANCE: &str = "io.oxikube.instance";
const KIND: &str = "io.oxikube.kind";
const SANDBOX: &str = "io.oxikube.sandbox";
const CONFIG: &str = "io.oxikube.config";
const LOG: &str = "io.oxikube.log";
const USER_IMAGE: &str = "io.oxikube.image";

pub(super) type Labels = HashMap<String, String>;

/// A sandbox, as its labels tell.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sandbox {
    pub(super) id: String,
    pub(super) config: v1::PodSandboxConfig,
}

/// A container, as its labels tell.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Container {
    pub(super) id: String,
    pub(super) sandbox: String,
    pub(super) config: v1::ContainerConfig,
    pub(super) log: String,
    pub(super) image_id: String,
}

/// The caller's labels are Docker's, too: people filter by them.
pub(super) fn of_sandbox(instance: &str, config: &v1::PodSandboxConfig) -> Labels {
    let mut labels = config.labels.clone();
    labels.insert(INSTANCE.to_owned(), instance.to_owned());
    labels.insert(KIND.to_owned(), "sandbox".to_owned());
    labels.insert(CONFIG.to_owned(), pack(config));
    labels
}

pub(super) fn of_container(instance: &str, container: &Container) -> Labels {
    let mut labels = container.config.labels.clone();
    labels.insert(INSTANCE.to_owned(), instance.to_owned());
    labels.insert(KIND.to_owned(), "container".to_owned());
    labels.insert(SANDBOX.to_owned(), container.sandbox.clone());
    labels.insert(CONFIG.to_owned(), pack(&container.config));
    labels.insert(LOG.to_owned(), container.log.clone());
    labels.insert(USER_IMAGE.to_owned(), container.image_id.clone());
    labels
}

/// None for what is no sandbox of ours.
pub(super) fn sandbox(id: &str, labels: &Labels) -> Option<Sandbox> {
    if labels.get(KIND)? != "sandbox" {
        return None;
    }
    Some(Sandbox { id: id.to_owned(), config: unpack(labels.get(CONFIG)?).ok()? })
}

/// None for what is no container of ours.
pub(super) fn container(id: &str, labels: &Labels) -> Option<Container> {
    if labels.get(KIND)? != "container" {
        return None;
    }
    Some(Container {
        id: id.to_owned(),
        sandbox: labels.get(SANDBOX)?.clone(),
        config: unpack(labels.get(CONFIG)?).ok()?,
        log: labels.get(LOG).cloned().unwrap_or_default(),
        image_id: labels.get(USER_IMAGE).cloned().unwrap_or_default(),
    })
}

/// The pod that an event's labels name.
pub(super) fn pod(labels: &Labels) -> v1::PodSandboxMetadata {
    let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
    v1::PodSandboxMetadata {
        name: label("io.kubernetes.pod.name"),
        uid: label("io.kubernetes.pod.uid"),
        namespace: label("io.kubernetes.pod.namespace"),
        attempt: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_tell_what_was_asked_for() {
        let config = v1::PodSandboxConfig { hostname: "web".into(), ..Default::default() };
        let labels = of_sandbox("i", &config);
        assert_eq!(sandbox("1", &labels).unwrap(), Sandbox { id: "1".into(), config });
        assert_eq!(container("1", &labels), None);
        let config = v1::ContainerConfig { log_path: "0.log".into(), ..Default::default() };
        let (log, image_id) = ("/logs/0.log".into(), "sha256:1".into());
        let made = Container { id: "2".into(), sandbox: "1".into(), config, log, image_id };
        let labels = of_container("i", &made);
        assert_eq!((container("2", &labels).unwrap(), sandbox("2", &labels)), (made, None));
        assert_eq!(sandbox("3", &Labels::new()), None);
    }
}
