//! The controllers: each brings one kind of thing to what it should be.
//!
//! One folder a controller: `plan` decides and is pure, `run` reads and writes. Informers are shared; each controller
//! writes under its own service account.

mod bootstrap;
mod certificates;
mod clusterroleaggregation;
mod common;
mod context;
mod cronjob;
mod daemonset;
mod deployment;
mod disruption;
mod endpointslice;
mod endpointslicemirroring;
mod ephemeralvolume;
mod garbagecollector;
mod ingress;
mod job;
mod localpath;
mod namespace;
mod nodeipam;
mod nodelifecycle;
mod persistentvolume;
mod podautoscaler;
mod podgc;
mod replicaset;
mod resourcequota;
mod rootca;
mod serviceaccount;
mod servicecidrs;
mod servicelb;
mod statefulset;
mod tainteviction;
mod ttl;
mod ttlafterfinished;
mod volumeexpand;
mod volumeprotection;

use std::future::Future;
use std::pin::Pin;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::ReplicationController;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use certificates::Authority;
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
        ("replicaset", Box::pin(replicaset::run::<ReplicaSet>(context(), stop()))),
        ("replicationcontroller", Box::pin(replicaset::run::<ReplicationController>(context(), stop()))),
        ("statefulset", Box::pin(statefulset::run(context(), stop()))),
        ("deployment", Box::pin(deployment::run(context(), stop()))),
        ("daemonset", Box::pin(daemonset::run(context(), stop()))),
        ("job", Box::pin(job::run(context(), stop()))),
        ("ttl-after-finished", Box::pin(ttlafterfinished::run(context(), stop()))),
        ("cronjob", Box::pin(cronjob::run(context(), stop()))),
        ("certificates", Box::pin(certificates::run(context(), stop()))),
        ("bootstrap-signer", Box::pin(bootstrap::run_signer(context(), stop()))),
        ("token-cleaner", Box::pin(bootstrap::run_cleaner(context(), stop()))),
        ("clusterrole-aggregation", Box::pin(clusterroleaggregation::run(context(), stop()))),
        ("disruption", Box::pin(disruption::run(context(), stop()))),
        ("resourcequota", Box::pin(resourcequota::run(context(), stop()))),
        ("podautoscaler", Box::pin(podautoscaler::run(context(), stop()))),
        ("endpointslice", Box::pin(endpointslice::run(context(), stop()))),
        ("node-lifecycle", Box::pin(nodelifecycle::run(context(), stop()))),
        ("taint-eviction", Box::pin(tainteviction::run(context(), stop()))),
        ("pod-garbage-collector", Box::pin(podgc::run(context(), stop()))),
        ("namespace", Box::pin(namespace::run(context(), stop()))),
        ("garbage-collector", Box::pin(garbagecollector::run(context(), stop()))),
        ("servicelb", Box::pin(servicelb::run(context(), stop()))),
        ("ingress", Box::pin(ingress::run(context(), stop()))),
        ("persistentvolume-binder", Box::pin(persistentvolume::run(context(), stop()))),
        ("persistentvolume-protection", Box::pin(volumeprotection::run_volumes(context(), stop()))),
        ("persistentvolumeclaim-protection", Box::pin(volumeprotection::run_claims(context(), stop()))),
        ("persistentvolume-expander", Box::pin(volumeexpand::run(context(), stop()))),
        ("ephemeral-volume", Box::pin(ephemeralvolume::run(context(), stop()))),
        ("local-path", Box::pin(localpath::run(context(), stop()))),
        ("endpointslice-mirroring", Box::pin(endpointslicemirroring::run(context(), stop()))),
        ("ttl", Box::pin(ttl::run(context(), stop()))),
        ("service-cidrs", Box::pin(servicecidrs::run(context(), stop()))),
        ("endpoints", Box::pin(endpointslice::run_endpoints(context(), stop()))),
    ]
}
