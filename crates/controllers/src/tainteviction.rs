//! Deletes pods from nodes whose NoExecute taints they do not tolerate, or no longer.

mod plan;

use std::collections::HashMap;
use std::sync::Arc;

use client::{EventRecorder, Informer, ObjectKey, Outcome, Reconciler, Runner, reference, write};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use parking_lot::Mutex;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::common::pods;
use crate::context::{Context, start};

const ACCOUNT: &str = "node-controller";
const WORKERS: usize = 8;

struct Evictions {
    client: kube::Client,
    events: EventRecorder,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    /// Since when a pod is under a taint that does not say itself since when it is there, by uid.
    since: Mutex<HashMap<ObjectKey, (String, Timestamp)>>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let nodes = context.informers.get::<Node>();
    let pods = context.pods();
    pods::index_by_node(&pods);
    let reconciler = Evictions {
        client: context.client(ACCOUNT),
        events: context.recorder(ACCOUNT),
        nodes: nodes.clone(),
        pods: pods.clone(),
        since: Mutex::default(),
    };
    let (there, tainted) = (pods.clone(), nodes.clone());
    let runner = Runner::new(Arc::new(reconciler), WORKERS)
        .watch(&nodes, move |node: &Node| {
            let name = node.metadata.name.as_deref().filter(|_| !plan::executing(node).is_empty());
            let pods = name.map(|name| there.by_index(pods::BY_NODE, name)).unwrap_or_default();
            pods.into_iter().map(|pod| ObjectKey::of(&pod.metadata)).collect::<Vec<_>>()
        })
        .watch(&pods, move |pod: &Pod| {
            let node = pods::node(pod).and_then(|name| tainted.get("", name))?;
            (!plan::executing(&node).is_empty()).then(|| ObjectKey::of(&pod.metadata))
        });
    let synced = async {
        nodes.synced().await;
        pods.synced().await;
    };
    start(runner, synced, shutdown).await;
}

impl Reconciler for Evictions {
    type Key = ObjectKey;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "taint-eviction"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, kube::Error> {
        let pod = self.pods.find(key).filter(|pod| !pods::is_terminating(pod));
        let node = pod.as_ref().and_then(|pod| self.nodes.get("", pods::node(pod)?));
        let taints = node.map(|node| plan::executing(&node)).unwrap_or_default();
        let (Some(pod), false) = (pod, taints.is_empty()) else {
            self.since.lock().remove(key);
            return Ok(Outcome::Done);
        };
        let now = Timestamp::now();
        let since = self.since(key, pod.metadata.uid.as_deref().unwrap_or_default(), now);
        match plan::due(&pod, &taints, since) {
            None => Ok(Outcome::Done),
            Some(at) if at > now => Ok(Outcome::RequeueAfter(plan::until(at, now))),
            Some(_) => self.evict(key, &pod).await.map(|()| Outcome::Done),
        }
    }
}

impl Evictions {
    fn since(&self, key: &ObjectKey, uid: &str, now: Timestamp) -> Timestamp {
        let mut since = self.since.lock();
        let entry = since.entry(key.clone()).or_insert_with(|| (uid.to_owned(), now));
        if entry.0 != uid {
            *entry = (uid.to_owned(), now);
        }
        entry.1
    }

    async fn evict(&self, key: &ObjectKey, pod: &Pod) -> kube::Result<()> {
        self.events.normal(&reference(pod), "TaintManagerEviction", format!("Marking for deletion Pod {key}"));
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": api::time::seconds(Timestamp::now())});
        let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}});
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(&patch)).await {
            Err(error) if write::is_not_found(&error) => return Ok(()),
            other => drop(other?),
        }
        let preconditions = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match api.delete(&key.name, &params).await {
            Err(error) if write::is_not_found(&error) => Ok(()),
            other => other.map(drop),
        }
    }
}
