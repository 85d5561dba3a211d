//! pv-protection: a volume that is bound stays.

use std::sync::Arc;

use client::{Informer, Outcome, Reconciler, Runner};
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::Api;
use tokio_util::sync::CancellationToken;

use super::plan::{self, Action};
use crate::common::finalizer;
use crate::context::{Context, start};

const ACCOUNT: &str = "pv-protection-controller";

struct Protection {
    client: kube::Client,
    volumes: Informer<PersistentVolume>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let volumes = context.informers.get::<PersistentVolume>();
    let client = context.client(ACCOUNT);
    let runner = Runner::new(Arc::new(Protection { client, volumes: volumes.clone() }), 2)
        .watch(&volumes, |volume: &PersistentVolume| volume.metadata.name.clone());
    start(runner, volumes.synced(), shutdown).await;
}

impl Reconciler for Protection {
    type Key = String;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "pv-protection"
    }

    async fn reconcile(&self, key: &String) -> Result<Outcome, kube::Error> {
        let Some(volume) = self.volumes.get("", key) else { return Ok(Outcome::Done) };
        let api = Api::<PersistentVolume>::all(self.client.clone());
        match plan::action(&volume.metadata, plan::VOLUME) {
            Action::Add => finalizer::add(&api, &*volume, plan::VOLUME).await?,
            Action::Remove if !plan::is_bound(&volume) => finalizer::remove(&api, &*volume, plan::VOLUME).await?,
            Action::Remove | Action::Keep => {}
        }
        Ok(Outcome::Done)
    }
}
