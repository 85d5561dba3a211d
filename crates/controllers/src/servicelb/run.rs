//! Reads services and nodes, writes addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use client::{EventRecorder, Informer, ObjectKey, Outcome, Reconciler, Runner, Selection};
use k8s_openapi::api::core::v1::{Endpoints, LoadBalancerIngress, LoadBalancerStatus, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use kube::Api;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::plan::{self, Asker, Door, Share};
use crate::common::status::write_status;
use crate::context::{Context, start};
use crate::endpointslice::OWN_SLICES;

const ACCOUNT: &str = "service-controller";
const SERVICE_NAME: &str = "kubernetes.io/service-name";

struct Balancer {
    client: kube::Client,
    events: EventRecorder,
    services: Informer<Service>,
    nodes: Informer<Node>,
    slices: Informer<EndpointSlice>,
    endpoints: Informer<Endpoints>,
    ingresses: Informer<Ingress>,
    /// Why services wait, as it was told last.
    told: Mutex<BTreeMap<ObjectKey, String>>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let balancer = Arc::new(Balancer {
        client: context.client(ACCOUNT),
        events: context.recorder(ACCOUNT),
        services: context.informers.get(),
        nodes: context.informers.get(),
        slices: context.informers.select(Selection::labels(OWN_SLICES)),
        endpoints: context.informers.get(),
        ingresses: context.informers.get(),
        told: Mutex::default(),
    });
    let services = balancer.services.clone();
    let is_local = move |slice: &EndpointSlice| {
        let name = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
        let service = services.get(slice.metadata.namespace.as_deref()?, name)?;
        (plan::is_ours(&service) && plan::is_local(&service)).then_some(())
    };
    let concerns = |service: &Service| (plan::is_ours(service) || !plan::addresses(service).is_empty()).then_some(());
    // One worker: who gets what is decided in one go.
    let runner = Runner::new(Arc::clone(&balancer), 1)
        .watch(&balancer.services, concerns)
        .watch(&balancer.nodes, |_| Some(()))
        .watch(&balancer.slices, is_local)
        .watch(&balancer.ingresses, |_| Some(()));
    let synced = async {
        balancer.services.synced().await;
        balancer.nodes.synced().await;
        balancer.slices.synced().await;
        balancer.endpoints.synced().await;
        balancer.ingresses.synced().await;
    };
    start(runner, synced, shutdown).await;
}

impl Balancer {
    /// The oldest first.
    fn askers(&self) -> Vec<Asker> {
        let mut services = self.services.list();
        services.retain(|service| plan::is_ours(service));
        services.sort_by_key(|service| {
            (service.metadata.creation_timestamp.as_ref().map(|time| time.0), ObjectKey::of(&service.metadata))
        });
        services.iter().map(|service| plan::asker(service, self.nodes_of(service))).collect()
    }

    /// The nodes with endpoints, if only those will do.
    fn nodes_of(&self, service: &Service) -> Option<BTreeSet<String>> {
        let name = service.metadata.name.as_ref().filter(|_| plan::is_local(service))?;
        let slices = self.slices.list_namespace(service.metadata.namespace.as_deref().unwrap_or_default());
        let is_own = |slice: &&Arc<EndpointSlice>| {
            slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME)) == Some(name)
        };
        let endpoints = slices.iter().filter(is_own).flat_map(|slice| slice.endpoints.iter().flatten());
        let ready = endpoints.filter(|e| e.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true));
        Some(ready.filter_map(|endpoint| endpoint.node_name.clone()).collect())
    }

    /// What is answered at nodes by others: kubelets, API servers, the gateway of ingresses.
    fn taken(&self) -> BTreeMap<Door, String> {
        let mut taken = BTreeMap::new();
        let mut take = |address: &str, port: i32, who: &str| {
            if let (Ok(address), Ok(port)) = (address.parse::<IpAddr>(), u16::try_from(port)) {
                taken.insert((address, "TCP", port), who.to_owned());
            }
        };
        for node in self.nodes.list() {
            let Some(status) = &node.status else { continue };
            let port = status.daemon_endpoints.as_ref().and_then(|d| d.kubelet_endpoint.as_ref()).map(|k| k.port);
            for (address, port) in status.addresses.iter().flatten().zip(std::iter::repeat(port)) {
                port.into_iter().for_each(|port| take(&address.address, port, "the kubelet"));
            }
        }
        for subset in self.endpoints.get("default", "kubernetes").iter().flat_map(|e| e.subsets.iter().flatten()) {
            for port in subset.ports.iter().flatten() {
                let addresses = subset.addresses.iter().flatten();
                addresses.for_each(|address| take(&address.ip, port.port, "the API server"));
            }
        }
        // What a service has already stays the service's: packets go there before they come to the gateway.
        let held: BTreeSet<Door> = self.services.list().iter().flat_map(|service| plan::doors(service)).collect();
        for ingress in self.ingresses.list() {
            let status = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
            for point in status.iter().flat_map(|balancer| balancer.ingress.iter().flatten()) {
                let Some(address) = point.ip.as_ref().and_then(|ip| ip.parse().ok()) else { continue };
                let ports = point.ports.iter().flatten().filter_map(|port| u16::try_from(port.port).ok());
                for door in ports.map(|port| (address, "TCP", port)).filter(|door| !held.contains(door)) {
                    taken.insert(door, "the gateway of ingresses".to_owned());
                }
            }
        }
        taken
    }

    async fn write(&self, service: &Service, share: &Share) -> kube::Result<()> {
        let key = ObjectKey::of(&service.metadata);
        if plan::addresses(service) != share.addresses {
            let api = Api::<Service>::namespaced(self.client.clone(), &key.namespace);
            let written = write_status(&api, service, |service| {
                let status = service.status.get_or_insert_default();
                status.load_balancer = Some(LoadBalancerStatus { ingress: ingress(&share.addresses) });
            });
            match written.await {
                Err(error) if client::write::is_not_found(&error) => return Ok(()),
                other => other?,
            };
            if !share.addresses.is_empty() {
                self.events.normal(&client::reference(service), "EnsuredLoadBalancer", "Ensured load balancer");
            }
        }
        self.tell(service, key, share.pending.as_ref());
        Ok(())
    }

    /// Why it waits, once.
    fn tell(&self, service: &Service, key: ObjectKey, why: Option<&String>) {
        let mut told = self.told.lock();
        let Some(why) = why else {
            told.remove(&key);
            return;
        };
        if told.insert(key, why.clone()).as_ref() != Some(why) {
            self.events.warning(&client::reference(service), "SyncLoadBalancerFailed", why);
        }
    }
}

fn ingress(addresses: &[IpAddr]) -> Option<Vec<LoadBalancerIngress>> {
    let one = |address: &IpAddr| LoadBalancerIngress {
        ip: Some(address.to_string()),
        ip_mode: Some("VIP".into()),
        ..LoadBalancerIngress::default()
    };
    (!addresses.is_empty()).then(|| addresses.iter().map(one).collect())
}

impl Reconciler for Balancer {
    type Key = ();
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "servicelb"
    }

    async fn reconcile(&self, _: &()) -> Result<Outcome, kube::Error> {
        let mut hosts: Vec<_> = self.nodes.list().iter().filter_map(|node| plan::host(node)).collect();
        hosts.sort_by(|a, b| a.name.cmp(&b.name));
        let shares = plan::share(&self.askers(), &hosts, &self.taken());
        self.told.lock().retain(|key, _| shares.contains_key(key));
        let nothing = Share::default();
        let mut failure = None;
        for service in self.services.list() {
            let kind = service.spec.as_ref().and_then(|spec| spec.type_.as_deref());
            let share = shares.get(&ObjectKey::of(&service.metadata));
            // What is no LoadBalancer any more loses its addresses; other classes are others' business.
            let share = share.or_else(|| (kind != Some("LoadBalancer")).then_some(&nothing));
            if let Some(share) = share
                && let Err(error) = self.write(&service, share).await
            {
                failure = Some(error);
            }
        }
        failure.map_or(Ok(Outcome::Done), Err)
    }
}
