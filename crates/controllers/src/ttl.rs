//! Tells the nodes how long they may keep Secrets and ConfigMaps without asking: the larger the cluster, the longer.

mod plan;

use std::sync::Arc;

use client::{Informer, Outcome, Reconciler, Runner};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use parking_lot::Mutex;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::context::{Context, start};

const ACCOUNT: &str = "ttl-controller";

struct Ttl {
    client: kube::Client,
    nodes: Informer<Node>,
    /// The step of the cluster's size.
    step: Mutex<usize>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let nodes = context.informers.get::<Node>();
    let ttl = Ttl { client: context.client(ACCOUNT), nodes: nodes.clone(), step: Mutex::default() };
    // All nodes at once: when the step changes, it does for each.
    let runner = Runner::new(Arc::new(ttl), 1).watch(&nodes, |_: &Node| Some(()));
    start(runner, async { nodes.synced().await }, shutdown).await;
}

impl Reconciler for Ttl {
    type Key = ();
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "ttl"
    }

    async fn reconcile(&self, _: &()) -> Result<Outcome, kube::Error> {
        let nodes = self.nodes.list();
        let seconds = {
            let mut step = self.step.lock();
            *step = plan::step(*step, nodes.len());
            plan::seconds(*step)
        };
        let api = Api::<Node>::all(self.client.clone());
        for node in nodes.iter().filter(|node| plan::is_stale(node, &seconds)) {
            let patch = json!({"metadata": {"annotations": {plan::ANNOTATION: seconds}}});
            let name = node.metadata.name.as_deref().unwrap_or_default();
            match api.patch(name, &PatchParams::default(), &Patch::Strategic(&patch)).await {
                Err(error) if client::write::is_not_found(&error) => {}
                other => drop(other?),
            }
        }
        Ok(Outcome::Done)
    }
}
