//! Endpoints: the older form, one object a Service.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Informer, ObjectKey, Outcome, Reconciler, Runner};
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use tokio_util::sync::CancellationToken;

use super::plan::{HEADLESS, hostname, is_headless, number, target};
use super::run::{selected, selected_by, selector};
use crate::common::pods;
use crate::context::{Context, start};

const ACCOUNT: &str = "endpoint-controller";
const WORKERS: usize = 5;
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";

struct Controller {
    client: kube::Client,
    services: Informer<Service>,
    pods: Informer<Pod>,
    endpoints: Informer<Endpoints>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let services = context.informers.get::<Service>();
    let pods = context.pods();
    let endpoints = context.informers.get::<Endpoints>();
    let client = context.client(ACCOUNT);
    let (selecting, all) = (services.clone(), endpoints.clone());
    let reconciler = Controller { client, services: services.clone(), pods: pods.clone(), endpoints: all };
    let runner = Runner::new(Arc::new(reconciler), WORKERS)
        .watch(&services, |service: &Service| Some(ObjectKey::of(&service.metadata)))
        .watch(&pods, move |pod: &Pod| selected_by(&selecting, pod))
        .watch(&endpoints, |endpoints: &Endpoints| Some(ObjectKey::of(&endpoints.metadata)));
    let synced = async {
        services.synced().await;
        pods.synced().await;
        endpoints.synced().await;
    };
    start(runner, synced, shutdown).await;
}

/// The subsets of a Service: addresses grouped by the ports that they have.
pub(super) fn subsets(service: &Service, pods: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let publish = service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true);
    let mut groups: BTreeMap<String, EndpointSubset> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !pods::is_finished(pod) && (publish || !pods::is_terminating(pod))) {
        let ip = pod.status.as_ref().and_then(|status| status.pod_ip.clone()).filter(|ip| !ip.is_empty());
        let Some(ip) = ip else { continue };
        let address = EndpointAddress {
            ip,
            hostname: hostname(service, pod),
            node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            target_ref: Some(target(pod)),
        };
        let ports = ports(service, pod);
        if ports.is_empty() && !is_headless(service) {
            continue;
        }
        let group = groups.entry(format!("{ports:?}")).or_default();
        group.ports = (!ports.is_empty()).then_some(ports);
        let list = if publish || pods::is_ready(pod) { &mut group.addresses } else { &mut group.not_ready_addresses };
        list.get_or_insert_default().push(address);
    }
    let mut subsets: Vec<_> = groups.into_values().collect();
    for subset in &mut subsets {
        for list in [&mut subset.addresses, &mut subset.not_ready_addresses].into_iter().flatten() {
            list.sort_by(|a, b| a.ip.cmp(&b.ip));
        }
    }
    subsets
}

fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let on_pod = ports.filter_map(|port| {
        Some(EndpointPort {
            name: port.name.clone().filter(|name| !name.is_empty()),
            port: number(port, pod)?,
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
            app_protocol: port.app_protocol.clone(),
        })
    });
    on_pod.collect()
}

fn wanted(service: &Service, pods: &[Arc<Pod>]) -> Endpoints {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels.insert(MANAGED_BY.into(), "endpoint-controller".into());
    let subsets = subsets(service, pods);
    Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        subsets: (!subsets.is_empty()).then_some(subsets),
    }
}

impl Reconciler for Controller {
    type Key = ObjectKey;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "endpoints"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, kube::Error> {
        let api = Api::<Endpoints>::namespaced(self.client.clone(), &key.namespace);
        let known = self.endpoints.find(key);
        let ours =
            |endpoints: &Endpoints| endpoints.metadata.labels.as_ref().is_some_and(|l| l.contains_key(MANAGED_BY));
        let Some(service) = self.services.find(key) else {
            if known.is_some_and(|endpoints| ours(&endpoints)) {
                match api.delete(&key.name, &DeleteParams::default()).await {
                    Err(error) if client::write::is_not_found(&error) => {}
                    other => drop(other?),
                }
            }
            return Ok(Outcome::Done);
        };
        let Some(selector) = selector(&service) else { return Ok(Outcome::Done) };
        let wanted = wanted(&service, &selected(&self.pods, &key.namespace, &selector));
        let Some(known) = known else {
            return match api.create(&PostParams::default(), &wanted).await {
                Err(error) if client::write::is_already_exists(&error) => Ok(Outcome::Done),
                other => other.map(|_| Outcome::Done),
            };
        };
        if known.subsets != wanted.subsets || known.metadata.labels != wanted.metadata.labels {
            let mut changed = (*known).clone();
            changed.subsets = wanted.subsets;
            changed.metadata.labels = wanted.metadata.labels;
            api.replace(&key.name, &PostParams::default(), &changed).await?;
        }
        Ok(Outcome::Done)
    }
}
