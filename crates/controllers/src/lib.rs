//! The controllers: each brings one kind of thing to what it should be.
//!
//! One folder a controller: `plan` decides and is pure, `run` reads and writes. Informers are shared; each controller
//! writes under its own service account.

mod common;
mod context;
mod daemonset;
mod deployment;
mod endpointslice;
mod ephemeralvolume;
mod garbagecollector;
mod localpath;
mod namespace;
mod nodeipam;
mod nodelifecycle;
mod persistentvolume;
mod podgc;
mod replicaset;
mod rootca;
mod serviceaccount;
mod tainteviction;
mod volumeexpand;
mod volumeprotection;

use std::future::Future;
use std::pin::Pin;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use context::Context;
pub use context::{ClientFor, Config};

type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The controllers, ready to run.
pub struct Controllers {
    context: Context,
}

impl Controllers {
    /// Nothing runs yet.
    pub fn build(config: Config) -> Self {
        Self { context: Context::new(config) }
    }

    /// Works until shutdown; attempts under way are finished (bounded by their own time limit).
    pub async fn run(self, shutdown: CancellationToken) {
        let mut tasks = JoinSet::new();
        for (name, run) in all(&self.context, &shutdown) {
            tasks.spawn(async move {
                run.await;
                name
            });
        }
        while let Some(ended) = tasks.join_next().await {
            match ended {
                Ok(controller) => tracing::debug!(controller, "controller ended"),
                Err(error) => tracing::error!(%error, "controller ended abnormally"),
            }
        }
        self.context.shutdown().await;
    }
}

fn all(context: &Context, shutdown: &CancellationToken) -> Vec<(&'static str, Run)> {
    let context = || context.clone();
    let stop = || shutdown.clone();
    vec![
        ("serviceaccount", Box::pin(serviceaccount::run(context(), stop()))),
        ("root-ca-publisher", Box::pin(rootca::run(context(), stop()))),
        ("node-ipam", Box::pin(nodeipam::run(context(), stop()))),
        ("replicaset", Box::pin(replicaset::run(context(), stop()))),
        ("deployment", Box::pin(deployment::run(context(), stop()))),
        ("daemonset", Box::pin(daemonset::run(context(), stop()))),
        ("endpointslice", Box::pin(endpointslice::run(context(), stop()))),
        ("node-lifecycle", Box::pin(nodelifecycle::run(context(), stop()))),
        ("taint-eviction", Box::pin(tainteviction::run(context(), stop()))),
        ("pod-garbage-collector", Box::pin(podgc::run(context(), stop()))),
        ("namespace", Box::pin(namespace::run(context(), stop()))),
        ("garbage-collector", Box::pin(garbagecollector::run(context(), stop()))),
        ("persistentvolume-binder", Box::pin(persistentvolume::run(context(), stop()))),
        ("persistentvolume-protection", Box::pin(volumeprotection::run_volumes(context(), stop()))),
        ("persistentvolumeclaim-protection", Box::pin(volumeprotection::run_claims(context(), stop()))),
        ("persistentvolume-expander", Box::pin(volumeexpand::run(context(), stop()))),
        ("ephemeral-volume", Box::pin(ephemeralvolume::run(context(), stop()))),
        ("local-path", Box::pin(localpath::run(context(), stop()))),
        ("endpoints", Box::pin(endpointslice::run_endpoints(context(), stop()))),
    ]
}
