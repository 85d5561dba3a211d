//! Making and deleting the pods of an owner: counted as expected, told as events.

use std::sync::Arc;

use client::{EventRecorder, ObjectKey, write};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};

use super::expectations::Expectations;

/// What a controller makes and deletes pods through.
pub(crate) struct PodControl {
    pub(crate) client: kube::Client,
    pub(crate) events: EventRecorder,
    pub(crate) expectations: Arc<Expectations>,
}

/// What an error says to people.
pub(crate) fn message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Whether something was refused because its namespace is going: nothing to tell.
pub(crate) fn is_namespace_ending(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.message.contains("because it is being terminated"))
}

impl PodControl {
    /// Makes a pod that is expected already.
    pub(crate) async fn create(&self, owner: &ObjectKey, object: &ObjectReference, pod: &Pod) -> kube::Result<()> {
        let api = Api::<Pod>::namespaced(self.client.clone(), &owner.namespace);
        match api.create(&PostParams::default(), pod).await {
            Ok(made) => {
                let name = made.metadata.name.unwrap_or_default();
                self.events.normal(object, "SuccessfulCreate", format!("Created pod: {name}"));
                Ok(())
            }
            Err(error) => {
                self.expectations.created(owner);
                if !is_namespace_ending(&error) {
                    self.events.warning(object, "FailedCreate", format!("Error creating: {}", message(&error)));
                }
                Err(error)
            }
        }
    }

    /// Deletes a pod whose deletion is expected already; one that is gone is as good.
    pub(crate) async fn delete(&self, owner: &ObjectKey, object: &ObjectReference, pod: &Pod) -> kube::Result<()> {
        let (name, uid) = (pod.metadata.name.as_deref().unwrap_or_default(), pod.metadata.uid.clone());
        let preconditions = Preconditions { uid: uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let api = Api::<Pod>::namespaced(self.client.clone(), &owner.namespace);
        let Err(error) = api.delete(name, &params).await else {
            self.events.normal(object, "SuccessfulDelete", format!("Deleted pod: {name}"));
            return Ok(());
        };
        self.expectations.deleted(owner, uid.as_deref().unwrap_or_default());
        if write::is_not_found(&error) {
            return Ok(());
        }
        self.events.warning(object, "FailedDelete", format!("Error deleting: {}", message(&error)));
        Err(error)
    }
}
