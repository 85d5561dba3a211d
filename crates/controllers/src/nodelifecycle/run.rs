//! Listens to heartbeats, writes conditions and taints.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::{Change, EventRecorder, Informer, Outcome, Reconciler, Runner, Selection, reference, write};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::plan::{self, Cluster, condition, readiness};
use crate::common::pods;
use crate::context::{Context, start};

const ACCOUNT: &str = "node-controller";
const WORKERS: usize = 4;

/// When each node was last heard of, on our own clock.
type Heard = Arc<Mutex<HashMap<String, Instant>>>;

struct Lifecycle {
    client: kube::Client,
    events: EventRecorder,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    heard: Heard,
    /// A node that is not heard of for this long is taken for unreachable.
    grace: Duration,
    /// A node that has never said anything gets more.
    startup_grace: Duration,
    /// The readiness that was last acted on.
    known: Mutex<HashMap<String, String>>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let nodes = context.informers.get::<Node>();
    let pods = context.pods();
    pods::index_by_node(&pods);
    let leases = context.informers.select::<Lease>(Selection::fields("metadata.namespace=kube-node-lease"));
    let heard = Heard::default();
    let reconciler = Arc::new(Lifecycle {
        client: context.client(ACCOUNT),
        events: context.recorder(ACCOUNT),
        nodes: nodes.clone(),
        pods: pods.clone(),
        heard: Arc::clone(&heard),
        grace: context.config.node_monitor_grace_period,
        startup_grace: context.config.node_startup_grace_period,
        known: Mutex::default(),
    });
    let (by_lease, by_status) = (Arc::clone(&heard), heard);
    // Renewals only move the deadline: nobody is woken by them.
    let _leases = leases.on_change(move |change| {
        if let Change::Applied { key, .. } = change {
            by_lease.lock().insert(key.name.clone(), Instant::now());
        }
    });
    let _status = nodes.on_change(move |change| match change {
        Change::Applied { key, old, new } if old.as_ref().is_none_or(|old| heartbeat(old) != heartbeat(new)) => {
            by_status.lock().insert(key.name.clone(), Instant::now());
        }
        Change::Deleted { key, .. } => drop(by_status.lock().remove(&key.name)),
        _ => {}
    });
    let runner = Runner::new(reconciler, WORKERS).watch(&nodes, |node: &Node| node.metadata.name.clone());
    let queue = runner.queue();
    let others = nodes.clone();
    // One node's readiness is of account for what happens to the others.
    let _all = nodes.on_change(move |change| {
        if let Change::Applied { old: Some(old), new, .. } = change
            && readiness(old) != readiness(new)
        {
            others.keys().into_iter().for_each(|key| queue.add(key.name));
        }
    });
    let synced = async {
        nodes.synced().await;
        pods.synced().await;
    };
    start(runner, synced, shutdown).await;
    drop(leases);
}

fn heartbeat(node: &Node) -> Option<Timestamp> {
    let status = node.status.as_ref()?;
    let all = status.conditions.iter().flatten();
    all.filter_map(|condition| condition.last_heartbeat_time.as_ref()).map(|time| time.0).max()
}

impl Reconciler for Lifecycle {
    type Key = String;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "node-lifecycle"
    }

    async fn reconcile(&self, key: &String) -> Result<Outcome, kube::Error> {
        let Some(node) = self.nodes.get("", key) else {
            self.known.lock().remove(key);
            return Ok(Outcome::Done);
        };
        let done = self.look(key, &node).await;
        match done {
            Err(error) if write::is_not_found(&error) => Ok(Outcome::Done),
            other => other,
        }
    }
}

impl Lifecycle {
    async fn look(&self, name: &str, node: &Node) -> kube::Result<Outcome> {
        let object = node_reference(name);
        let left = self.patience(name, node);
        if left.is_zero() {
            let conditions = plan::silence(node, Timestamp::now());
            if !conditions.is_empty() {
                let patch = json!({"metadata": {"uid": node.metadata.uid}, "status": {"conditions": conditions}});
                let api = Api::<Node>::all(self.client.clone());
                api.patch_status(name, &PatchParams::default(), &Patch::Strategic(&patch)).await?;
                // The rest follows from the change that this makes.
                return Ok(Outcome::RequeueAfter(self.grace));
            }
        }
        self.taint(name, node).await?;
        let ready = readiness(node).to_owned();
        let before = self.known.lock().insert(name.to_owned(), ready.clone());
        match before.as_deref() {
            None => {
                let message = format!("Node {name} event: Registered Node {name} in Controller");
                self.events.normal(&object, "RegisteredNode", message);
            }
            Some("True") if ready != "True" => {
                let message = format!("Node {name} status is now: NodeNotReady");
                self.events.normal(&object, "NodeNotReady", message);
            }
            _ => {}
        }
        if ready == "Unknown" || (ready != "True" && before.as_deref() == Some("True")) {
            self.mark_pods(name, condition(node, "Ready").is_some()).await?;
        }
        Ok(Outcome::RequeueAfter(if left.is_zero() { self.grace } else { left }))
    }

    /// How long the node may still be silent.
    fn patience(&self, name: &str, node: &Node) -> Duration {
        let grace = if condition(node, "Ready").is_some() { self.grace } else { self.startup_grace };
        let heard = *self.heard.lock().entry(name.to_owned()).or_insert_with(Instant::now);
        grace.saturating_sub(heard.elapsed())
    }

    fn cluster(&self) -> Cluster {
        let nodes = self.nodes.list();
        plan::cluster(nodes.len(), nodes.iter().filter(|node| readiness(node) != "True").count())
    }

    async fn taint(&self, name: &str, node: &Node) -> kube::Result<()> {
        let Some(taints) = plan::taints(node, self.cluster(), Timestamp::now()) else { return Ok(()) };
        let meta = &node.metadata;
        let taints = (!taints.is_empty()).then_some(taints);
        let patch = json!({"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
            "spec": {"taints": taints}});
        let api = Api::<Node>::all(self.client.clone());
        api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
    }

    /// Nobody answers for the pods of a node that is gone silent: they are not ready.
    async fn mark_pods(&self, node: &str, spoke: bool) -> kube::Result<()> {
        if !spoke {
            return Ok(());
        }
        for pod in self.pods.by_index(pods::BY_NODE, node).into_iter().filter(|pod| pods::is_ready(pod)) {
            let now = api::time::seconds(Timestamp::now());
            let condition = json!({"type": "Ready", "status": "False", "lastTransitionTime": now});
            let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}});
            let api =
                Api::<Pod>::namespaced(self.client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default());
            self.events.warning(&reference(&*pod), "NodeNotReady", "Node is not ready");
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            match api.patch_status(name, &PatchParams::default(), &Patch::Strategic(&patch)).await {
                Err(error) if write::is_not_found(&error) => {}
                other => drop(other?),
            }
        }
        Ok(())
    }
}

/// Events of nodes name the node as their uid, as kubelets do.
fn node_reference(name: &str) -> ObjectReference {
    ObjectReference {
        kind: Some("Node".into()),
        api_version: Some("v1".into()),
        name: Some(name.to_owned()),
        uid: Some(name.to_owned()),
        ..ObjectReference::default()
    }
}
