//! What all controllers share.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use client::{EventRecorder, Informer, Informers, Reconciler, Runner, Selection};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Pod;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::certificates::Authority;

/// Gives the client of a controller by its service account's name, as `deployment-controller`.
pub type ClientFor = Arc<dyn Fn(&str) -> kube::Client + Send + Sync>;

/// What the controllers have to know.
#[derive(Clone)]
pub struct Config {
    /// The client of `system:kube-controller-manager`: all watches run over it.
    pub client: kube::Client,
    /// The clients that controllers write through.
    pub client_for: ClientFor,
    /// Where nodes get their pod addresses from; none leaves them alone.
    pub cluster_cidr: Option<IpNet>,
    /// The length of a node's prefix; 24 by default.
    pub node_cidr_mask: Option<u8>,
    /// The certificate authority that pods are to trust, in PEM; none publishes none.
    pub root_ca: Option<String>,
    /// What certificates are signed with; none signs none.
    pub authority: Option<Authority>,
    /// Finished pods that are kept at most; upstream's default is 12500.
    pub terminated_pods: usize,
    /// A node that is not heard of for this long is taken for unreachable; upstream's default is 50 s.
    pub node_monitor_grace_period: Duration,
    /// A node that has never said anything gets this long; upstream's default is 60 s.
    pub node_startup_grace_period: Duration,
}

#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) informers: Informers,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Context {
    pub(crate) fn new(config: Config) -> Self {
        let informers = Informers::new(config.client.clone());
        Self { config, informers, stop: CancellationToken::new(), tasks: TaskTracker::new() }
    }

    /// The client of a controller's service account.
    pub(crate) fn client(&self, account: &str) -> kube::Client {
        (self.config.client_for)(account)
    }

    /// All pods, [slim](crate::common::slim): for reading, not for writing back.
    pub(crate) fn pods(&self) -> Informer<Pod> {
        self.informers.project(Selection::default(), crate::common::slim::slim)
    }

    /// Takes the events of a controller.
    pub(crate) fn recorder(&self, account: &str) -> EventRecorder {
        let (recorder, sink) = EventRecorder::new(self.client(account), account, "");
        self.tasks.spawn(sink.run(self.stop.clone()));
        recorder
    }

    pub(crate) async fn shutdown(&self) {
        self.informers.shutdown().await;
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Runs a reconciler once its caches are full.
pub(crate) async fn start<R: Reconciler>(
    runner: Runner<R>,
    synced: impl Future<Output = ()>,
    shutdown: CancellationToken,
) {
    tokio::select! {
        () = shutdown.cancelled() => return,
        () = synced => {}
    }
    runner.run(shutdown).await;
}
