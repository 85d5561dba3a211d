//! Pods as controllers keep them: without what only a kubelet needs. There are many pods, and one copy of each is
//! held for all controllers, so what is left out here is most of their memory.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Volume};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Keeps identity, placement, names, images, ports, resources, claims and status. Such a pod is for reading: it must
/// not be written back.
pub(crate) fn slim(mut pod: Pod) -> Pod {
    pod.metadata.managed_fields = None;
    if let Some(annotations) = &mut pod.metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
    if let Some(spec) = &mut pod.spec {
        slim_spec(spec);
    }
    if let Some(status) = &mut pod.status {
        status.conditions.iter_mut().for_each(Vec::shrink_to_fit);
        status.container_statuses.iter_mut().for_each(Vec::shrink_to_fit);
    }
    pod
}

fn slim_spec(spec: &mut PodSpec) {
    spec.containers = spec.containers.drain(..).map(container).collect();
    spec.init_containers = spec.init_containers.take().map(|list| list.into_iter().map(container).collect());
    spec.ephemeral_containers = None;
    spec.dns_config = None;
    spec.host_aliases = None;
    spec.image_pull_secrets = None;
    spec.security_context = None;
    spec.volumes = spec.volumes.take().map(|list| list.into_iter().filter(is_claim).collect());
}

fn is_claim(volume: &Volume) -> bool {
    volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some()
}

fn container(full: Container) -> Container {
    Container {
        name: full.name,
        image: full.image,
        ports: full.ports,
        resources: full.resources,
        restart_policy: full.restart_policy,
        ..Container::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_controllers_read_is_kept_and_what_kubelets_read_is_not() {
        let full: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "annotations": {LAST_APPLIED: "{}", "a": "b"}, "managedFields": [{"manager": "m"}]},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "env": [{"name": "A", "value": "B"}],
                "ports": [{"name": "web", "containerPort": 80}], "resources": {"requests": {"cpu": "1"}}}],
                "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "t", "emptyDir": {}}]},
        }))
        .unwrap();
        let kept = serde_json::to_value(slim(full)).unwrap();
        assert_eq!(kept["metadata"], json!({"name": "p", "annotations": {"a": "b"}}));
        assert_eq!(kept["spec"]["volumes"].as_array().map(Vec::len), Some(1));
        assert_eq!(
            kept["spec"]["containers"][0],
            json!({"name": "c", "ports": [{"name": "web", "containerPort": 80}], "resources": {"requests": {"cpu": "1"}}})
        );
    }
}
