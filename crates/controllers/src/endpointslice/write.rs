//! Writes slices.

use std::collections::HashSet;

use client::ObjectKey;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams};

use super::SERVICE_NAME;
use super::pack::Plan;
use crate::common::expectations::Expectations;

/// The Service that a slice belongs to.
pub(crate) fn service_of(meta: &ObjectMeta) -> Option<ObjectKey> {
    let name = meta.labels.as_ref()?.get(SERVICE_NAME)?;
    Some(ObjectKey::new(meta.namespace.clone().unwrap_or_default(), name))
}

/// Writes what is planned for the Service `key`; slices that are made are expected in the cache.
pub(crate) async fn write(
    client: &kube::Client,
    expectations: &Expectations,
    key: &ObjectKey,
    plan: &Plan,
) -> kube::Result<()> {
    let api = Api::<EndpointSlice>::namespaced(client.clone(), &key.namespace);
    for slice in &plan.update {
        api.replace(slice.metadata.name.as_deref().unwrap_or_default(), &PostParams::default(), slice).await?;
    }
    if !plan.create.is_empty() {
        expectations.expect(key, plan.create.len(), HashSet::new());
    }
    for (done, slice) in plan.create.iter().enumerate() {
        if let Err(error) = api.create(&PostParams::default(), slice).await {
            (done..plan.create.len()).for_each(|_| expectations.created(key));
            return Err(error);
        }
    }
    for slice in &plan.delete {
        match api.delete(slice.metadata.name.as_deref().unwrap_or_default(), &DeleteParams::default()).await {
            Err(error) if client::write::is_not_found(&error) => {}
            other => drop(other?),
        }
    }
    Ok(())
}
