//! Reads ranges and addresses, writes finalizers and conditions.

use std::sync::Arc;

use client::{Informer, Outcome, Reconciler, Runner};
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use kube::Api;
use tokio_util::sync::CancellationToken;

use super::plan::{self, Action};
use crate::common::finalizer;
use crate::common::status::write_status;
use crate::context::{Context, start};

const ACCOUNT: &str = "service-cidrs-controller";

struct Ranges {
    client: kube::Client,
    ranges: Informer<ServiceCIDR>,
    addresses: Informer<IPAddress>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let (ranges, addresses) = (context.informers.get::<ServiceCIDR>(), context.informers.get::<IPAddress>());
    let client = context.client(ACCOUNT);
    let (all, leaving) = (ranges.clone(), ranges.clone());
    let reconciler = Ranges { client, ranges: ranges.clone(), addresses: addresses.clone() };
    let is_leaving = |range: &ServiceCIDR| range.metadata.deletion_timestamp.is_some();
    let names = move |informer: &Informer<ServiceCIDR>, only_leaving: bool| -> Vec<String> {
        let ranges = informer.list().into_iter().filter(|range| !only_leaving || is_leaving(range));
        ranges.filter_map(|range| range.metadata.name.clone()).collect()
    };
    let runner = Runner::new(Arc::new(reconciler), 1)
        // One that comes or goes may let another go.
        .watch(&ranges, move |_: &ServiceCIDR| names(&all, false))
        .watch(&addresses, move |_: &IPAddress| names(&leaving, true));
    let synced = async {
        ranges.synced().await;
        addresses.synced().await;
    };
    start(runner, synced, shutdown).await;
}

impl Reconciler for Ranges {
    type Key = String;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "service-cidrs"
    }

    async fn reconcile(&self, key: &String) -> Result<Outcome, kube::Error> {
        let Some(range) = self.ranges.get("", key) else { return Ok(Outcome::Done) };
        let api = Api::<ServiceCIDR>::all(self.client.clone());
        match plan::action(&range, &self.ranges.list(), &self.addresses.list(), Timestamp::now()) {
            Action::Nothing => {}
            Action::AddFinalizer => finalizer::add(&api, &*range, plan::FINALIZER).await?,
            Action::RemoveFinalizer => finalizer::remove(&api, &*range, plan::FINALIZER).await?,
            Action::Wait(left) => return Ok(Outcome::RequeueAfter(left)),
            Action::SetReady(condition) => {
                let written = write_status(&api, &range, |range| {
                    let conditions = range.status.get_or_insert_default().conditions.get_or_insert_default();
                    conditions.retain(|known| known.type_ != condition.type_);
                    conditions.push(condition.clone());
                });
                match written.await {
                    Err(error) if client::write::is_not_found(&error) => {}
                    other => drop(other?),
                }
            }
        }
        Ok(Outcome::Done)
    }
}
