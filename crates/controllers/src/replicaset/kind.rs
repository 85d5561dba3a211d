//! The kinds that are kept as ReplicaSets are.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{
    ReplicationController, ReplicationControllerCondition, ReplicationControllerSpec, ReplicationControllerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A kind that can be seen as a ReplicaSet, and back.
pub(crate) trait Replicated:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + PartialEq
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// Service account of its controller.
    const ACCOUNT: &'static str;

    fn view(self) -> ReplicaSet;

    fn of(set: ReplicaSet) -> Self;
}

impl Replicated for ReplicaSet {
    const ACCOUNT: &'static str = "replicaset-controller";

    fn view(mut self) -> ReplicaSet {
        self.metadata.managed_fields = None;
        self
    }

    fn of(set: ReplicaSet) -> Self {
        set
    }
}

impl Replicated for ReplicationController {
    const ACCOUNT: &'static str = "replication-controller";

    fn view(self) -> ReplicaSet {
        let (spec, status) = (self.spec.unwrap_or_default(), self.status.unwrap_or_default());
        let condition = |condition: ReplicationControllerCondition| ReplicaSetCondition {
            type_: Some(condition.type_),
            status: Some(condition.status),
            reason: condition.reason,
            message: condition.message,
            last_transition_time: condition.last_transition_time,
        };
        let mut metadata = self.metadata;
        metadata.managed_fields = None;
        ReplicaSet {
            metadata,
            spec: ReplicaSetSpec {
                replicas: spec.replicas,
                min_ready_seconds: spec.min_ready_seconds,
                selector: LabelSelector { match_labels: spec.selector, match_expressions: None },
                template: spec.template,
            },
            status: Some(ReplicaSetStatus {
                replicas: status.replicas,
                fully_labeled_replicas: status.fully_labeled_replicas,
                ready_replicas: status.ready_replicas,
                available_replicas: status.available_replicas,
                terminating_replicas: None,
                observed_generation: status.observed_generation,
                conditions: status.conditions.map(|all| all.into_iter().map(condition).collect()),
            }),
        }
    }

    fn of(set: ReplicaSet) -> Self {
        let condition = |condition: ReplicaSetCondition| ReplicationControllerCondition {
            type_: condition.type_.unwrap_or_default(),
            status: condition.status.unwrap_or_default(),
            reason: condition.reason,
            message: condition.message,
            last_transition_time: condition.last_transition_time,
        };
        let status = set.status.map(|status| ReplicationControllerStatus {
            replicas: status.replicas,
            fully_labeled_replicas: status.fully_labeled_replicas,
            ready_replicas: status.ready_replicas,
            available_replicas: status.available_replicas,
            observed_generation: status.observed_generation,
            conditions: status.conditions.map(|all| all.into_iter().map(condition).collect()),
        });
        let spec = ReplicationControllerSpec {
            replicas: set.spec.replicas,
            min_ready_seconds: set.spec.min_ready_seconds,
            selector: set.spec.selector.match_labels,
            template: set.spec.template,
        };
        Self { metadata: set.metadata, spec: Some(spec), status }
    }
}
