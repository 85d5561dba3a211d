//! Gives each node a range of pod addresses out of the cluster's.

mod plan;

use std::sync::Arc;

use client::{Informer, Outcome, Reconciler, Runner};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use parking_lot::Mutex;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::context::{Context, start};
use plan::Ranges;

const ACCOUNT: &str = "node-controller";
const DEFAULT_MASK: u8 = 24;

struct NodeIpam {
    client: kube::Client,
    nodes: Informer<Node>,
    ranges: Mutex<Ranges>,
    events: client::EventRecorder,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let Some(cluster) = context.config.cluster_cidr else { return };
    let nodes = context.informers.get::<Node>();
    let ranges = Mutex::new(Ranges::new(cluster, context.config.node_cidr_mask.unwrap_or(DEFAULT_MASK)));
    let (client, events) = (context.client(ACCOUNT), context.recorder(ACCOUNT));
    // One worker: two at once could take the same range.
    let runner = Runner::new(Arc::new(NodeIpam { client, nodes: nodes.clone(), ranges, events }), 1)
        .watch(&nodes, |node: &Node| node.metadata.name.clone());
    start(runner, nodes.synced(), shutdown).await;
}

/// The API server gives a range to one node only; another process, that leads or thinks so, was faster.
fn belongs_to_another(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 && status.message.contains("belongs to another node"))
}

fn range_of(node: &Node) -> Option<IpNet> {
    node.spec.as_ref()?.pod_cidr.as_ref()?.parse().ok()
}

impl Reconciler for NodeIpam {
    type Key = String;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "node-ipam"
    }

    async fn reconcile(&self, key: &String) -> Result<Outcome, kube::Error> {
        let Some(node) = self.nodes.get("", key) else {
            self.ranges.lock().release(key);
            return Ok(Outcome::Done);
        };
        if let Some(range) = range_of(&node) {
            self.ranges.lock().occupy(key, range);
            return Ok(Outcome::Done);
        }
        let range = {
            let mut ranges = self.ranges.lock();
            // What others have comes first, whether or not their own turn came already.
            for other in self.nodes.list() {
                if let (Some(name), Some(range)) = (&other.metadata.name, range_of(&other)) {
                    ranges.occupy(name, range);
                }
            }
            ranges.take(key)
        };
        let Some(range) = range else {
            let message = format!("Node {key} status is now: CIDRNotAvailable");
            self.events.normal(&client::reference(&*node), "CIDRNotAvailable", message);
            return Ok(Outcome::Done);
        };
        let range = range.to_string();
        let patch = json!({"metadata": {"uid": node.metadata.uid}, "spec": {"podCIDR": range, "podCIDRs": [range]}});
        let api = Api::<Node>::all(self.client.clone());
        match api.patch(key, &PatchParams::default(), &Patch::Strategic(&patch)).await {
            Err(error) if client::write::is_not_found(&error) => Ok(Outcome::Done),
            Err(error) if belongs_to_another(&error) => {
                self.ranges.lock().lost(key);
                Err(error)
            }
            other => other.map(|_| Outcome::Done),
        }
    }
}
