//! The objects that quotas count.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use client::{Change, HandlerGuard, Informer, Informers, ObjectKey};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DynamicObject};
use parking_lot::Mutex;
use serde_json::Value;

use super::plan::Resource;
use crate::common::discovery::{self, Served};

type Watched = (Informer<DynamicObject>, HandlerGuard<DynamicObject>);

/// Watches a resource from when a quota first counts it.
pub(super) struct Objects {
    informers: Informers,
    client: kube::Client,
    pods: Informer<Pod>,
    freed: Arc<dyn Fn(&str) + Send + Sync>,
    watched: Mutex<HashMap<Resource, Arc<Watched>>>,
}

impl Objects {
    /// `freed` is told the namespace of whatever goes.
    pub(super) fn new(
        informers: Informers,
        client: kube::Client,
        pods: Informer<Pod>,
        freed: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self { informers, client, pods, freed: Arc::new(freed), watched: Mutex::default() }
    }

    /// The objects of a namespace; of a resource that is not served none.
    pub(super) async fn of(
        &self,
        namespace: &str,
        needed: &BTreeSet<Resource>,
    ) -> kube::Result<BTreeMap<Resource, Vec<Value>>> {
        let mut objects = BTreeMap::new();
        let mut served = None;
        for resource in needed {
            if resource.0.is_empty() && resource.1 == "pods" {
                let pods = self.pods.list_namespace(namespace);
                let trees = pods.iter().filter_map(|pod| serde_json::to_value(&**pod).ok());
                objects.insert(resource.clone(), trees.collect());
                continue;
            }
            let Some(watched) = self.watch(resource, &mut served).await? else { continue };
            let all = watched.0.list_namespace(namespace);
            let trees = all.iter().filter_map(|object| serde_json::to_value(&**object).ok());
            objects.insert(resource.clone(), trees.collect());
        }
        Ok(objects)
    }

    async fn watch(&self, resource: &Resource, served: &mut Option<Vec<Served>>) -> kube::Result<Option<Arc<Watched>>> {
        if let Some(known) = self.watched.lock().get(resource) {
            return Ok(Some(Arc::clone(known)));
        }
        if served.is_none() {
            *served = Some(discovery::served(&self.client).await?);
        }
        let matches =
            |served: &&Served| (&served.resource.group, &served.resource.plural) == (&resource.0, &resource.1);
        let found = served.iter().flatten().filter(|served| served.namespaced && served.can("watch")).find(matches);
        let Some(found) = found else { return Ok(None) };
        let watched = Arc::new(self.start(&found.resource));
        watched.0.synced().await;
        self.watched.lock().insert(resource.clone(), Arc::clone(&watched));
        Ok(Some(watched))
    }

    fn start(&self, resource: &ApiResource) -> Watched {
        let informer = self.informers.dynamic(resource, client::Selection::default());
        let freed = Arc::clone(&self.freed);
        let guard = informer.on_change(move |change| {
            if let Change::Deleted { key: ObjectKey { namespace, .. }, .. } = change {
                freed(namespace);
            }
        });
        (informer, guard)
    }
}
