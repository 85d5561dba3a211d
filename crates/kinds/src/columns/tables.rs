//! Which kind has which columns (tabular).

use super::{AGE, Column, NAME, node, pod, service, storage, workload};

static NAME_AND_AGE: &[Column] = &[NAME, AGE];

pub(super) fn of(group: &str, kind: &str) -> Option<&'static [Column]> {
    Some(match (group, kind) {
        ("", "Pod") => pod::POD,
        ("", "PodTemplate") => pod::POD_TEMPLATE,
        ("", "Event") => pod::EVENT,
        ("", "ServiceAccount") => pod::SERVICE_ACCOUNT,
        ("", "Node") => node::NODE,
        ("", "Namespace") => node::NAMESPACE,
        ("", "Service") => service::SERVICE,
        ("", "Endpoints") => service::ENDPOINTS,
        ("", "ConfigMap") => storage::CONFIG_MAP,
        ("", "Secret") => storage::SECRET,
        ("", "PersistentVolume") => storage::VOLUME,
        ("", "PersistentVolumeClaim") => storage::CLAIM,
        ("", "ReplicationController") => workload::REPLICATION_CONTROLLER,
        ("", "ResourceQuota") => workload::RESOURCE_QUOTA,
        ("", "ComponentStatus") => storage::COMPONENT,
        ("apps", "Deployment") => workload::DEPLOYMENT,
        ("apps", "ReplicaSet") => workload::REPLICA_SET,
        ("apps", "StatefulSet") => workload::STATEFUL_SET,
        ("apps", "DaemonSet") => workload::DAEMON_SET,
        ("apps", "ControllerRevision") => workload::CONTROLLER_REVISION,
        ("batch", "Job") => workload::JOB,
        ("batch", "CronJob") => workload::CRON_JOB,
        ("autoscaling", _) => workload::AUTOSCALER,
        ("policy", "PodDisruptionBudget") => workload::DISRUPTION_BUDGET,
        ("coordination.k8s.io", "Lease") => pod::LEASE,
        ("discovery.k8s.io", "EndpointSlice") => service::ENDPOINT_SLICE,
        ("networking.k8s.io", "Ingress") => service::INGRESS,
        ("networking.k8s.io", "IngressClass") => service::INGRESS_CLASS,
        ("networking.k8s.io", "NetworkPolicy") => service::NETWORK_POLICY,
        ("networking.k8s.io", "ServiceCIDR") => service::SERVICE_CIDR,
        ("networking.k8s.io", "IPAddress") => service::IP_ADDRESS,
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => pod::ROLE_BINDING,
        ("scheduling.k8s.io", "PriorityClass") => pod::PRIORITY_CLASS,
        ("storage.k8s.io", "StorageClass") => storage::CLASS,
        ("storage.k8s.io", "CSINode") => storage::CSI_NODE,
        ("storage.k8s.io", "VolumeAttachment") => storage::ATTACHMENT,
        ("certificates.k8s.io", "CertificateSigningRequest") => storage::CERTIFICATE_REQUEST,
        ("apiregistration.k8s.io", "APIService") => storage::API_SERVICE,
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration") => {
            storage::WEBHOOKS
        }
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => storage::FLOW_SCHEMA,
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => storage::PRIORITY_LEVEL,
        ("node.k8s.io", "RuntimeClass") => storage::RUNTIME_CLASS,
        // Upstream prints these by their creation time, not their age.
        ("rbac.authorization.k8s.io", _) | ("", "LimitRange") => return None,
        (
            "storage.k8s.io"
            | "networking.k8s.io"
            | "apps"
            | "batch"
            | "admissionregistration.k8s.io"
            | "resource.k8s.io"
            | "certificates.k8s.io",
            _,
        ) => NAME_AND_AGE,
        _ => return None,
    })
}
