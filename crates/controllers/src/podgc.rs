//! Clears away pods that nobody else will: of nodes that are gone, and finished ones beyond a limit.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use client::{Informer, ObjectKey, Outcome, Reconciler, Runner, write};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::common::pods;
use crate::context::{Context, start};
use plan::Verdict;

const ACCOUNT: &str = "pod-garbage-collector";
const WORKERS: usize = 4;
/// A node may be registered again: its pods wait this long.
const QUARANTINE: Duration = Duration::from_secs(40);
const FINISHED: &str = "finished";

struct PodGc {
    client: kube::Client,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    limit: usize,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let nodes = context.informers.get::<Node>();
    let pods = context.pods();
    pods::index_by_node(&pods);
    pods.add_index(FINISHED, |pod| pods::is_finished(pod).then(|| FINISHED.to_owned()).into_iter().collect());
    let client = context.client(ACCOUNT);
    let limit = context.config.terminated_pods;
    let reconciler = PodGc { client, nodes: nodes.clone(), pods: pods.clone(), limit };
    let (there, known) = (pods.clone(), nodes.clone());
    let runner = Runner::new(Arc::new(reconciler), WORKERS).watch(&pods, |pod: &Pod| {
        let relevant = pods::is_finished(pod) || (pods::node(pod).is_none() && pods::is_terminating(pod));
        relevant.then(|| ObjectKey::of(&pod.metadata))
    });
    let queue = runner.queue();
    let homeless = queue.clone();
    let _homeless = pods.on_change(move |change| {
        if let client::Change::Applied { new, .. } = change
            && pods::node(new).is_some_and(|name| known.get("", name).is_none())
        {
            homeless.add_after(ObjectKey::of(&new.metadata), QUARANTINE);
        }
    });
    let _gone = nodes.on_change(move |change| {
        if let client::Change::Deleted { key, .. } = change {
            let pods = there.by_index(pods::BY_NODE, &key.name);
            pods.iter().for_each(|pod| queue.add_after(ObjectKey::of(&pod.metadata), QUARANTINE));
        }
    });
    let synced = async {
        nodes.synced().await;
        pods.synced().await;
    };
    start(runner, synced, shutdown).await;
}

impl Reconciler for PodGc {
    type Key = ObjectKey;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "pod-garbage-collector"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, kube::Error> {
        let Some(pod) = self.pods.find(key) else { return Ok(Outcome::Done) };
        let known = pods::node(&pod).is_some_and(|name| self.nodes.get("", name).is_some());
        match plan::judge(&pod, known) {
            Verdict::Keep => {}
            Verdict::Delete => self.delete(&pod).await?,
            Verdict::Orphan => {
                let name = pods::node(&pod).unwrap_or_default();
                if Api::<Node>::all(self.client.clone()).get_opt(name).await?.is_some() {
                    return Ok(Outcome::RequeueAfter(QUARANTINE));
                }
                self.fail(&pod).await?;
                self.delete(&pod).await?;
            }
        }
        let finished = self.pods.by_index(FINISHED, FINISHED);
        for pod in plan::surplus(finished, self.limit) {
            self.delete(&pod).await?;
        }
        Ok(Outcome::Done)
    }
}

impl PodGc {
    /// Says that the pod has ended, to whoever counts on that.
    async fn fail(&self, pod: &Pod) -> kube::Result<()> {
        if pods::is_finished(pod) {
            return Ok(());
        }
        let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists", "lastTransitionTime": api::time::seconds(Timestamp::now())});
        let status = json!({"phase": "Failed", "conditions": [condition]});
        let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": status});
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        match self.api(pod).patch_status(name, &PatchParams::default(), &Patch::Strategic(&patch)).await {
            Err(error) if write::is_not_found(&error) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn delete(&self, pod: &Pod) -> kube::Result<()> {
        let preconditions = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams {
            preconditions: Some(preconditions),
            grace_period_seconds: Some(0),
            ..DeleteParams::default()
        };
        match self.api(pod).delete(pod.metadata.name.as_deref().unwrap_or_default(), &params).await {
            Err(error) if write::is_not_found(&error) || write::is_conflict(&error) => Ok(()),
            other => other.map(drop),
        }
    }

    fn api(&self, pod: &Pod) -> Api<Pod> {
        Api::namespaced(self.client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default())
    }
}
