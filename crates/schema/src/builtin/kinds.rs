//! Which type describes which built-in kind.

use k8s_openapi::api;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use k8s_openapi::apimachinery::pkg::apis::meta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration;
use schemars::{JsonSchema, SchemaGenerator};

/// Describes a type, and into the generator every type that it contains.
pub(crate) type Describe = fn(&mut SchemaGenerator) -> schemars::Schema;

type Row = (&'static str, &'static str, Describe, fn() -> String);

fn name_of<T: JsonSchema>() -> String {
    T::schema_name().into_owned()
}

macro_rules! kinds {
    ($($group:literal $version:literal $path:path { $($kind:ident),* $(,)? })*) => {
        /// Rows of one group and version.
        fn rows(group: &str, version: &str) -> &'static [Row] {
            match (group, version) {
                $(($group, $version) => { use $path as types; const ROWS: &[Row] = &[
                    $((stringify!($kind), $version, <types::$kind as JsonSchema>::json_schema, name_of::<types::$kind>)),*
                ]; ROWS })*
                _ => &[],
            }
        }

        /// Every group and version with kinds here.
        #[cfg(test)]
        pub(crate) const ALL: &[(&str, &str, &[&str])] = &[$(($group, $version, &[$(stringify!($kind)),*])),*];
    };
}

kinds! {
    "" "v1" api::core::v1 {
        Binding, ComponentStatus, ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume,
        PersistentVolumeClaim, Pod, PodTemplate, ReplicationController, ResourceQuota, Secret, Service, ServiceAccount,
    }
    "admissionregistration.k8s.io" "v1" api::admissionregistration::v1 {
        MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, MutatingWebhookConfiguration,
        ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
    }
    "admissionregistration.k8s.io" "v1alpha1" api::admissionregistration::v1alpha1 {
        MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding,
    }
    "admissionregistration.k8s.io" "v1beta1" api::admissionregistration::v1beta1 {
        MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding,
    }
    "apiextensions.k8s.io" "v1" apiextensions::v1 { CustomResourceDefinition }
    "apiregistration.k8s.io" "v1" apiregistration::v1 { APIService }
    "apps" "v1" api::apps::v1 { ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet }
    "authentication.k8s.io" "v1" api::authentication::v1 { SelfSubjectReview, TokenRequest, TokenReview }
    "authorization.k8s.io" "v1" api::authorization::v1 {
        LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
    }
    "autoscaling" "v1" api::autoscaling::v1 { HorizontalPodAutoscaler, Scale }
    "autoscaling" "v2" api::autoscaling::v2 { HorizontalPodAutoscaler }
    "batch" "v1" api::batch::v1 { CronJob, Job }
    "certificates.k8s.io" "v1" api::certificates::v1 {
        CertificateSigningRequest, ClusterTrustBundle, PodCertificateRequest,
    }
    "certificates.k8s.io" "v1beta1" api::certificates::v1beta1 { ClusterTrustBundle, PodCertificateRequest }
    "coordination.k8s.io" "v1" api::coordination::v1 { Lease }
    "coordination.k8s.io" "v1alpha2" api::coordination::v1alpha2 { LeaseCandidate }
    "coordination.k8s.io" "v1beta1" api::coordination::v1beta1 { LeaseCandidate }
    "discovery.k8s.io" "v1" api::discovery::v1 { EndpointSlice }
    "events.k8s.io" "v1" api::events::v1 { Event }
    "flowcontrol.apiserver.k8s.io" "v1" api::flowcontrol::v1 { FlowSchema, PriorityLevelConfiguration }
    "internal.apiserver.k8s.io" "v1alpha1" api::apiserverinternal::v1alpha1 { StorageVersion }
    "lifecycle.k8s.io" "v1alpha1" api::lifecycle::v1alpha1 { Eviction, EvictionRequest }
    "networking.k8s.io" "v1" api::networking::v1 { Ingress, IngressClass, IPAddress, NetworkPolicy, ServiceCIDR }
    "node.k8s.io" "v1" api::node::v1 { RuntimeClass }
    "policy" "v1" api::policy::v1 { Eviction, PodDisruptionBudget }
    "rbac.authorization.k8s.io" "v1" api::rbac::v1 { ClusterRole, ClusterRoleBinding, Role, RoleBinding }
    "resource.k8s.io" "v1" api::resource::v1 {
        DeviceClass, DeviceTaintRule, ResourceClaim, ResourceClaimTemplate, ResourceSlice,
    }
    "resource.k8s.io" "v1alpha3" api::resource::v1alpha3 { DeviceTaintRule, ResourcePoolStatusRequest }
    "resource.k8s.io" "v1beta1" api::resource::v1beta1 {
        DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice,
    }
    "resource.k8s.io" "v1beta2" api::resource::v1beta2 {
        DeviceClass, DeviceTaintRule, ResourceClaim, ResourceClaimTemplate, ResourceSlice,
    }
    "scheduling.k8s.io" "v1" api::scheduling::v1 { PriorityClass }
    "scheduling.k8s.io" "v1alpha3" api::scheduling::v1alpha3 { CompositePodGroup, PodGroup, Workload }
    "scheduling.k8s.io" "v1beta1" api::scheduling::v1beta1 { PodGroup, Workload }
    "storage.k8s.io" "v1" api::storage::v1 {
        CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment, VolumeAttributesClass,
    }
    "storagemigration.k8s.io" "v1" api::storagemigration::v1 { StorageVersionMigration }
    "storagemigration.k8s.io" "v1beta1" api::storagemigration::v1beta1 { StorageVersionMigration }
}

/// The full type name of a kind and how to describe it.
pub(crate) fn find(group: &str, version: &str, kind: &str) -> Option<(String, Describe)> {
    if group.is_empty()
        && version == "v1"
        && let Some(found) = meta_type(kind)
    {
        return Some(found);
    }
    let (_, _, describe, name) = rows(group, version).iter().find(|(known, ..)| *known == kind)?;
    Some((name(), *describe))
}

/// Types of the meta package that belong to no group.
fn meta_type(kind: &str) -> Option<(String, Describe)> {
    macro_rules! find {
        ($($name:ident)*) => {
            match kind {
                $(stringify!($name) => {
                    Some((name_of::<meta::v1::$name>(), <meta::v1::$name as JsonSchema>::json_schema))
                })*
                _ => None,
            }
        };
    }
    find!(APIResourceList DeleteOptions ListMeta Patch Status)
}
