//! What Ingresses speak of: services, endpoints, certificates. Watched while there is an Ingress.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use client::{Change, HandlerGuard, Informer, Informers, ObjectKey, Selection};
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::certificates::{self, TlsEntry};
use crate::entries::{self, ServiceEntry, SliceEntry};
use crate::table::View;

const BY_SERVICE: &str = "service";
/// Requests are answered from what is known after this time, complete or not.
const FIRST_LISTS: Duration = Duration::from_secs(3);

type Watched<P> = (Informer<P>, HandlerGuard<P>);

pub(super) struct World {
    services: Watched<ServiceEntry>,
    slices: Watched<SliceEntry>,
    /// One by one: a node may read only those that Ingresses name.
    secrets: BTreeMap<ObjectKey, Watched<TlsEntry>>,
}

/// Wakes whoever waits when an entry is another one now.
fn watched<P>(informer: Informer<P>, changed: &Arc<Notify>, same: fn(&P, &P) -> bool) -> Watched<P>
where
    P: Send + Sync + 'static,
{
    let changed = changed.clone();
    let guard = informer.on_change(move |change| match change {
        Change::Applied { old: Some(old), new, .. } if same(old, new) => {}
        _ => changed.notify_one(),
    });
    (informer, guard)
}

impl World {
    pub(super) fn watch(informers: &Informers, changed: &Arc<Notify>) -> Self {
        let services = informers.project::<Service, _>(Selection::default(), entries::service);
        let slices = informers.project::<EndpointSlice, _>(Selection::default(), entries::slice);
        slices.add_index(BY_SERVICE, |slice| vec![format!("{}/{}", slice.namespace, slice.service)]);
        Self {
            services: watched(services, changed, PartialEq::eq),
            slices: watched(slices, changed, PartialEq::eq),
            secrets: BTreeMap::new(),
        }
    }

    /// Watches these secrets and no others; waits, bounded, until all that is there is known.
    pub(super) async fn follow(&mut self, informers: &Informers, changed: &Arc<Notify>, wanted: BTreeSet<ObjectKey>) {
        self.secrets.retain(|key, _| wanted.contains(key));
        for key in wanted {
            self.secrets.entry(key).or_insert_with_key(|key| {
                let one = Selection::fields(format!("metadata.name={}", key.name));
                let secret = informers.project_in::<Secret, _>(&key.namespace, one, certificates::entry);
                watched(secret, changed, |_, _| false)
            });
        }
        let known = async {
            tokio::join!(self.services.0.synced(), self.slices.0.synced());
            for (secret, _) in self.secrets.values() {
                secret.synced().await;
            }
        };
        if timeout(FIRST_LISTS, known).await.is_err() {
            tracing::warn!("the gateway serves although it does not know everything yet");
        }
    }
}

impl View for World {
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<ServiceEntry>> {
        self.services.0.get(namespace, name)
    }

    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<SliceEntry>> {
        self.slices.0.by_index(BY_SERVICE, &format!("{namespace}/{service}"))
    }

    fn secret(&self, key: &ObjectKey) -> Option<Arc<TlsEntry>> {
        self.secrets.get(key)?.0.find(key)
    }
}
