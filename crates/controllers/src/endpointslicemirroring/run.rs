//! Reads Endpoints, Services and slices, writes slices.

use std::sync::Arc;

use client::{Change, EventRecorder, Informer, ObjectKey, Outcome, Reconciler, Runner, Selection};
use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio_util::sync::CancellationToken;

use super::plan::{self, MANAGER, MAX, Skipped};
use crate::common::expectations::Expectations;
use crate::context::{Context, start};
use crate::endpointslice::MANAGED_BY;
use crate::endpointslice::write::{service_of, write};

const ACCOUNT: &str = "endpointslicemirroring-controller";
const WORKERS: usize = 5;

struct Mirroring {
    client: kube::Client,
    events: EventRecorder,
    endpoints: Informer<Endpoints>,
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    /// Slices that were made and are not in the cache yet.
    expectations: Arc<Expectations>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let endpoints = context.informers.get::<Endpoints>();
    let services = context.informers.get::<Service>();
    let slices = context.informers.select::<EndpointSlice>(Selection::labels(format!("{MANAGED_BY}={MANAGER}")));
    let expectations = Arc::new(Expectations::default());
    let reconciler = Arc::new(Mirroring {
        client: context.client(ACCOUNT),
        events: context.recorder(ACCOUNT),
        endpoints: endpoints.clone(),
        services: services.clone(),
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
    let runner = Runner::new(reconciler, WORKERS)
        .watch(&endpoints, |endpoints: &Endpoints| Some(ObjectKey::of(&endpoints.metadata)))
        .watch(&services, |service: &Service| Some(ObjectKey::of(&service.metadata)))
        .watch(&slices, |slice: &EndpointSlice| service_of(&slice.metadata));
    let synced = async {
        endpoints.synced().await;
        services.synced().await;
        slices.synced().await;
    };
    start(runner, synced, shutdown).await;
}

impl Mirroring {
    fn tell(&self, endpoints: &Endpoints, skipped: &Skipped) {
        let about = client::reference(endpoints);
        if skipped.invalid > 0 {
            let why = format!("Skipped {} invalid IP addresses when mirroring to EndpointSlices", skipped.invalid);
            self.events.warning(&about, "InvalidIPAddress", why);
        }
        if skipped.beyond > 0 {
            let why = format!(
                "A max of {MAX} addresses can be mirrored to EndpointSlices per Endpoints subset. {} addresses were skipped",
                skipped.invalid + skipped.beyond
            );
            self.events.warning(&about, "TooManyAddressesToMirror", why);
        }
    }
}

impl Reconciler for Mirroring {
    type Key = ObjectKey;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "endpointslice-mirroring"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, kube::Error> {
        let (service, endpoints) = (self.services.find(key), self.endpoints.find(key));
        if endpoints.is_none() {
            self.expectations.forget(key);
        }
        if !self.expectations.satisfied(key) {
            return Ok(Outcome::Done);
        }
        let mut existing = self.slices.list_namespace(&key.namespace);
        existing.retain(|slice| service_of(&slice.metadata).as_ref() == Some(key));
        let (plan, skipped) = plan::plan(service.as_deref(), endpoints.as_deref(), &existing);
        if let Some(endpoints) = &endpoints {
            self.tell(endpoints, &skipped);
        }
        write(&self.client, &self.expectations, key, &plan).await.map(|()| Outcome::Done)
    }
}
