//! The pods of an owner: its own, those that are nobody's and match, without those that match no more.

use std::sync::Arc;

use api::selector::LabelSelector;
use client::Informer;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};

use super::owner::{self, Claim};
use super::pods;

/// Who claims.
pub(crate) struct Claimant<'a> {
    pub(crate) meta: &'a ObjectMeta,
    /// What its pods say about it.
    pub(crate) reference: OwnerReference,
    pub(crate) selector: &'a LabelSelector,
    /// Whether a pod of nobody is wanted, if it matches.
    pub(crate) adopts: fn(&Pod) -> bool,
}

impl Claimant<'_> {
    /// Its pods; adopts and lets go on the way.
    pub(crate) async fn pods(&self, client: &kube::Client, all: &Informer<Pod>) -> kube::Result<Vec<Arc<Pod>>> {
        let namespace = self.meta.namespace.as_deref().unwrap_or_default();
        let uid = self.meta.uid.as_deref().unwrap_or_default();
        let api = Api::<Pod>::namespaced(client.clone(), namespace);
        let mut owned = Vec::new();
        let mut checked = false;
        for pod in pods::candidates(all, uid, namespace) {
            match owner::claim(self.meta, self.selector, &pod.metadata) {
                Claim::Owned => owned.push(pod),
                Claim::Foreign => {}
                Claim::Release => owner::release(&api, &pod.metadata, uid).await?,
                Claim::Adopt if !(self.adopts)(&pod) => {}
                Claim::Adopt => {
                    if !checked && !self.still_there(client).await? {
                        return Ok(owned);
                    }
                    checked = true;
                    owner::adopt(&api, &pod.metadata, &self.reference).await?;
                    owned.push(pod);
                }
            }
        }
        Ok(owned)
    }

    /// Asks the apiserver, since the cache may be late: who is being deleted must not adopt.
    async fn still_there(&self, client: &kube::Client) -> kube::Result<bool> {
        let (group, version) = self.reference.api_version.split_once('/').unwrap_or(("", &self.reference.api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &self.reference.kind));
        let namespace = self.meta.namespace.as_deref().unwrap_or_default();
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
        let now = api.get_metadata_opt(&self.reference.name).await?;
        Ok(now.is_some_and(|now| now.metadata.uid == self.meta.uid && now.metadata.deletion_timestamp.is_none()))
    }
}
