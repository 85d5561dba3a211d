//! Reads nodes and services, writes the status of Ingresses.

use std::sync::Arc;

use client::ingress::Classes;
use client::{Informer, Outcome, Reconciler, Runner, write};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::networking::v1::{Ingress, IngressClass, IngressLoadBalancerIngress, IngressLoadBalancerStatus};
use kube::Api;
use kube::api::{ListParams, PostParams};
use tokio_util::sync::CancellationToken;

use super::plan;
use crate::common::status::write_status;
use crate::context::{Context, start};
use crate::servicelb::doors;

const ACCOUNT: &str = "ingress-controller";

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    /// The class that a cluster begins with.
    Class,
    /// All Ingresses: they are answered at the same places.
    Ingresses,
}

struct Addresses {
    client: kube::Client,
    ingresses: Informer<Ingress>,
    classes: Informer<IngressClass>,
    nodes: Informer<Node>,
    services: Informer<Service>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let addresses = Arc::new(Addresses {
        client: context.client(ACCOUNT),
        ingresses: context.informers.get(),
        classes: context.informers.get(),
        nodes: context.informers.get(),
        services: context.informers.get(),
    });
    let runner = Runner::new(Arc::clone(&addresses), 1)
        .watch(&addresses.ingresses, |_| Some(Key::Ingresses))
        .watch(&addresses.classes, |_| Some(Key::Ingresses))
        .watch(&addresses.nodes, |_| Some(Key::Ingresses))
        .watch(&addresses.services, |service| (!doors(service).is_empty()).then_some(Key::Ingresses));
    runner.queue().add(Key::Class);
    let synced = async {
        addresses.ingresses.synced().await;
        addresses.classes.synced().await;
        addresses.nodes.synced().await;
        addresses.services.synced().await;
    };
    start(runner, synced, shutdown).await;
}

impl Reconciler for Addresses {
    type Key = Key;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "ingress"
    }

    async fn reconcile(&self, key: &Key) -> Result<Outcome, kube::Error> {
        match key {
            Key::Class => self.make_class().await?,
            Key::Ingresses => self.tell().await?,
        }
        Ok(Outcome::Done)
    }
}

impl Addresses {
    /// Only in a cluster without any class: a deleted one stays deleted as long as there is another.
    async fn make_class(&self) -> kube::Result<()> {
        let api = Api::<IngressClass>::all(self.client.clone());
        if !api.list_metadata(&ListParams::default().limit(1)).await?.items.is_empty() {
            return Ok(());
        }
        match api.create(&PostParams::default(), &plan::class()).await {
            Err(error) if write::is_already_exists(&error) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn tell(&self) -> kube::Result<()> {
        let (ingresses, classes) = (self.ingresses.list(), self.classes.list());
        let classes = Classes::of(classes.iter().map(AsRef::as_ref));
        let (nodes, services) = (self.nodes.list(), self.services.list());
        let points = plan::points(nodes.iter().map(AsRef::as_ref), services.iter().map(AsRef::as_ref));
        let wanted = (!points.is_empty()).then_some(points);
        let mut failure = None;
        for ingress in ingresses.iter().filter(|ingress| classes.serve(ingress)) {
            if told(ingress) != wanted.as_ref()
                && let Err(error) = self.write(ingress, wanted.as_ref()).await
            {
                failure = Some(error);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn write(&self, ingress: &Ingress, wanted: Option<&Vec<IngressLoadBalancerIngress>>) -> kube::Result<()> {
        let namespace = ingress.metadata.namespace.as_deref().unwrap_or_default();
        let api = Api::<Ingress>::namespaced(self.client.clone(), namespace);
        let written = write_status(&api, ingress, |ingress| {
            let status = ingress.status.get_or_insert_default();
            status.load_balancer = Some(IngressLoadBalancerStatus { ingress: wanted.cloned() });
        });
        match written.await {
            Err(error) if write::is_not_found(&error) => Ok(()),
            other => other.map(drop),
        }
    }
}

fn told(ingress: &Ingress) -> Option<&Vec<IngressLoadBalancerIngress>> {
    let points = ingress.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?;
    (!points.is_empty()).then_some(points)
}
