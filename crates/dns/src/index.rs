//! Where answers come from: what informers know of services, endpoints and namespaces.

use std::net::IpAddr;
use std::sync::Arc;

use client::{Informer, Informers, Selection};
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::entries::{self, NamespaceEntry, PodEntry, ServiceEntry, SliceEntry};

const BY_ADDRESS: &str = "address";
const BY_SERVICE: &str = "service";

/// What answers ask for.
pub(crate) trait Index {
    fn has_namespace(&self, name: &str) -> bool;
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<ServiceEntry>>;
    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<SliceEntry>>;
    fn services_at(&self, address: IpAddr) -> Vec<Arc<ServiceEntry>>;
    fn slices_at(&self, address: IpAddr) -> Vec<Arc<SliceEntry>>;
    /// The namespace of the pod of this node that has an address, if it searches there first.
    fn namespace_at(&self, address: IpAddr) -> Option<String>;
    /// Waits until all that is there is known.
    fn complete(&self) -> impl Future<Output = ()> + Send;
}

/// The index over the cluster's objects.
pub(crate) struct ClusterIndex {
    namespaces: Informer<NamespaceEntry>,
    services: Informer<ServiceEntry>,
    slices: Informer<SliceEntry>,
    /// Those of this node; none when it is not known which that is.
    pods: Option<Informer<PodEntry>>,
}

impl ClusterIndex {
    pub(crate) fn new(informers: &Informers, node: Option<&str>) -> Self {
        let pods = node.map(|node| {
            let here = Selection::fields(format!("spec.nodeName={node}"));
            let pods = informers.project::<Pod, _>(here, entries::pod);
            pods.add_index(BY_ADDRESS, |pod| pod.addresses.iter().map(ToString::to_string).collect());
            pods
        });
        let namespaces = informers.project::<Namespace, _>(Selection::default(), entries::namespace);
        let services = informers.project::<Service, _>(Selection::default(), entries::service);
        let slices = informers.project::<EndpointSlice, _>(Selection::default(), entries::slice);
        services.add_index(BY_ADDRESS, |service| service.addresses.iter().map(ToString::to_string).collect());
        slices.add_index(BY_SERVICE, |slice| vec![key(&slice.namespace, &slice.service)]);
        slices.add_index(BY_ADDRESS, |slice| {
            slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses).map(ToString::to_string).collect()
        });
        Self { namespaces, services, slices, pods }
    }
}

fn key(namespace: &str, service: &str) -> String {
    format!("{namespace}/{service}")
}

impl Index for ClusterIndex {
    fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.get("", name).is_some()
    }

    fn service(&self, namespace: &str, name: &str) -> Option<Arc<ServiceEntry>> {
        self.services.get(namespace, name)
    }

    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<SliceEntry>> {
        self.slices.by_index(BY_SERVICE, &key(namespace, service))
    }

    fn services_at(&self, address: IpAddr) -> Vec<Arc<ServiceEntry>> {
        self.services.by_index(BY_ADDRESS, &address.to_string())
    }

    fn slices_at(&self, address: IpAddr) -> Vec<Arc<SliceEntry>> {
        self.slices.by_index(BY_ADDRESS, &address.to_string())
    }

    fn namespace_at(&self, address: IpAddr) -> Option<String> {
        let pods = self.pods.as_ref()?.by_index(BY_ADDRESS, &address.to_string());
        pods.first().map(|pod| pod.namespace.clone())
    }

    async fn complete(&self) {
        tokio::join!(self.namespaces.synced(), self.services.synced(), self.slices.synced());
    }
}
