//! Reads Services, pods and slices, writes slices.

use std::sync::Arc;

use api::selector::LabelSelector;
use client::{Change, Informer, ObjectKey, Outcome, Reconciler, Runner, Selection};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio_util::sync::CancellationToken;

use super::plan;
use super::write::{service_of, write};
use crate::common::expectations::Expectations;
use crate::context::{Context, start};

const ACCOUNT: &str = "endpointslice-controller";
const WORKERS: usize = 5;
const ZONE: &str = "topology.kubernetes.io/zone";

struct Slices {
    client: kube::Client,
    services: Informer<Service>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    slices: Informer<EndpointSlice>,
    /// Slices that were made and are not in the cache yet.
    expectations: Arc<Expectations>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let services = context.informers.get::<Service>();
    let pods = context.pods();
    let nodes = context.informers.get::<Node>();
    let slices = context.informers.select::<EndpointSlice>(Selection::labels(super::OWN_SLICES));
    let expectations = Arc::new(Expectations::default());
    let reconciler = Arc::new(Slices {
        client: context.client(ACCOUNT),
        services: services.clone(),
        pods: pods.clone(),
        nodes: nodes.clone(),
        slices: slices.clone(),
        expectations: Arc::clone(&expectations),
    });
    let _seen = slices.on_change(move |change| {
        if let Change::Applied { old: None, new, .. } = change
            && let Some(service) = service_of(&new.metadata)
        {
            expectations.created(&service);
        }
    });
    let selecting = services.clone();
    let runner = Runner::new(reconciler, WORKERS)
        .watch(&services, |service: &Service| Some(ObjectKey::of(&service.metadata)))
        .watch(&pods, move |pod: &Pod| selected_by(&selecting, pod))
        .watch(&slices, |slice: &EndpointSlice| service_of(&slice.metadata));
    let synced = async {
        services.synced().await;
        pods.synced().await;
        nodes.synced().await;
        slices.synced().await;
    };
    start(runner, synced, shutdown).await;
}

/// The selector of a Service that has one.
pub(super) fn selector(service: &Service) -> Option<LabelSelector> {
    let spec = service.spec.as_ref().filter(|spec| spec.type_.as_deref() != Some("ExternalName"))?;
    spec.selector.as_ref().filter(|labels| !labels.is_empty()).map(LabelSelector::from_map)
}

pub(super) fn selected_by(services: &Informer<Service>, pod: &Pod) -> Vec<ObjectKey> {
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    let all = services.list_namespace(pod.metadata.namespace.as_deref().unwrap_or_default());
    let selecting = all.iter().filter(|service| selector(service).is_some_and(|selector| selector.matches(&labels)));
    selecting.map(|service| ObjectKey::of(&service.metadata)).collect()
}

pub(super) fn selected(pods: &Informer<Pod>, namespace: &str, selector: &LabelSelector) -> Vec<Arc<Pod>> {
    let matches = |pod: &Arc<Pod>| pod.metadata.labels.as_ref().is_some_and(|labels| selector.matches(labels));
    pods.list_namespace(namespace).into_iter().filter(matches).collect()
}

impl Reconciler for Slices {
    type Key = ObjectKey;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "endpointslice"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, kube::Error> {
        // Of a Service that is gone, the slices go with it: they are owned.
        let Some(service) = self.services.find(key).filter(|s| s.metadata.deletion_timestamp.is_none()) else {
            self.expectations.forget(key);
            return Ok(Outcome::Done);
        };
        let Some(selector) = selector(&service) else { return Ok(Outcome::Done) };
        if !self.expectations.satisfied(key) {
            return Ok(Outcome::Done);
        }
        let pods = selected(&self.pods, &key.namespace, &selector);
        let mut existing = self.slices.list_namespace(&key.namespace);
        existing.retain(|slice| service_of(&slice.metadata).as_ref() == Some(key));
        let zone = |node: &str| self.nodes.get("", node)?.metadata.labels.as_ref()?.get(ZONE).cloned();
        let plan = plan::plan(&service, &pods, &existing, zone);
        write(&self.client, &self.expectations, key, &plan).await.map(|()| Outcome::Done)
    }
}
