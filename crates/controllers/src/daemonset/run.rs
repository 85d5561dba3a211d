//! Reads DaemonSets, nodes and pods, makes and deletes pods, keeps the history, writes the status.

use std::collections::HashSet;
use std::sync::Arc;

use client::{Informer, ObjectKey, Outcome, Reconciler, Runner, reference, write};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use tokio_util::sync::CancellationToken;

use super::plan::{self, Plan, REVISION};
use crate::common::claimant::Claimant;
use crate::common::expectations::Expectations;
use crate::common::pod_control::PodControl;
use crate::common::revisions::History;
use crate::common::{owner, pods, status};
use crate::context::{Context, start};

const ACCOUNT: &str = "daemon-set-controller";
const KIND: &str = "DaemonSet";
const WORKERS: usize = 2;

struct DaemonSets {
    control: PodControl,
    sets: Informer<DaemonSet>,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    revisions: Informer<ControllerRevision>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let sets = context.informers.get::<DaemonSet>();
    let nodes = context.informers.get::<Node>();
    let pods = context.pods();
    let revisions = context.informers.get::<ControllerRevision>();
    pods::index_by_owner(&pods);
    let expectations = Arc::new(Expectations::default());
    let (client, events) = (context.client(ACCOUNT), context.recorder(ACCOUNT));
    let control = PodControl { client, events, expectations: Arc::clone(&expectations) };
    let reconciler = Arc::new(DaemonSets {
        control,
        sets: sets.clone(),
        nodes: nodes.clone(),
        pods: pods.clone(),
        revisions: revisions.clone(),
    });
    let _seen = pods.on_change(move |change| expectations.observe(KIND, change));
    let runner = Runner::new(reconciler, WORKERS)
        .watch(&sets, |set: &DaemonSet| Some(ObjectKey::of(&set.metadata)))
        .watch(&pods, |pod: &Pod| owner::owned_by(KIND, &pod.metadata))
        .watch(&revisions, |revision: &ControllerRevision| owner::owned_by(KIND, &revision.metadata));
    let queue = runner.queue();
    let all = sets.clone();
    let _nodes = nodes.on_change(move |change| {
        if matters(change) {
            all.keys().into_iter().for_each(|key| queue.add(key));
        }
    });
    let synced = async {
        sets.synced().await;
        nodes.synced().await;
        pods.synced().await;
        revisions.synced().await;
    };
    start(runner, synced, shutdown).await;
}

/// Heartbeats do not change where daemons run; labels and taints do.
fn matters(change: &client::Change<Node>) -> bool {
    match change {
        client::Change::Applied { old: Some(old), new, .. } => {
            old.metadata.labels != new.metadata.labels || old.spec != new.spec
        }
        _ => true,
    }
}

impl Reconciler for DaemonSets {
    type Key = ObjectKey;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "daemonset"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, kube::Error> {
        let Some(set) = self.sets.find(key) else {
            self.control.expectations.forget(key);
            return Ok(Outcome::Done);
        };
        let selector = client::selector(Some(&set.spec.selector));
        let Some(selector) = selector.filter(|selector| !selector.is_empty()) else { return Ok(Outcome::Done) };
        if set.metadata.deletion_timestamp.is_some() || !self.control.expectations.satisfied(key) {
            return Ok(Outcome::Done);
        }
        let reference = owner::controller_reference(&*set);
        let history = History {
            owner: &set.metadata,
            reference: reference.clone(),
            template: &set.spec.template,
            collisions: set.status.as_ref().and_then(|status| status.collision_count),
            label: REVISION,
            limit: set.spec.revision_history_limit,
        };
        let mut known = self.revisions.list_namespace(&key.namespace);
        known.retain(|r| owner::controller_of(&r.metadata).map(|o| &o.uid) == set.metadata.uid.as_ref());
        let Some(revision) = history.revise(&self.control.client, &known).await? else { return Ok(Outcome::Done) };
        let hash = history.hash_of(&revision);
        let claimant = Claimant { meta: &set.metadata, reference, selector: &selector, adopts: |_| true };
        let owned = claimant.pods(&self.control.client, &self.pods).await?;
        let (nodes, now) = (self.nodes.list(), Timestamp::now());
        let done = self.carry_out(key, &set, &hash, plan::plan(&set, &nodes, &owned, &hash, now)).await;
        let status = plan::status(&set, &nodes, &owned, &hash, now);
        let api = Api::<DaemonSet>::namespaced(self.control.client.clone(), &key.namespace);
        match status::write_status(&api, &*set, |set| set.status = Some(status.clone())).await {
            Err(error) if !write::is_not_found(&error) => return Err(error),
            _ => {}
        }
        done?;
        let used = |revision: &ControllerRevision| {
            let hash = history.hash_of(revision);
            owned.iter().any(|pod| plan::is_current(pod, &hash))
        };
        history.trim(&self.control.client, &known, used).await?;
        let seconds = set.spec.min_ready_seconds.filter(|seconds| *seconds > 0);
        let waiting = seconds.and_then(|seconds| {
            let late = owned.iter().filter(|pod| !pods::is_available(pod, seconds, now));
            late.filter_map(|pod| pods::becomes_available(pod, seconds, now)).min()
        });
        Ok(waiting.map_or(Outcome::Done, Outcome::RequeueAfter))
    }
}

impl DaemonSets {
    async fn carry_out(&self, key: &ObjectKey, set: &DaemonSet, hash: &str, plan: Plan) -> kube::Result<()> {
        let object = reference(set);
        for pod in &plan.failed {
            let (name, node) =
                (pod.metadata.name.as_deref().unwrap_or_default(), plan::node_of(pod).unwrap_or_default());
            let message =
                format!("Found failed daemon pod {}/{name} on node {node}, will try to kill it", key.namespace);
            self.control.events.warning(&object, "FailedDaemonPod", message);
        }
        let uids: HashSet<_> = plan.delete.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
        if plan.create.is_empty() && uids.is_empty() {
            return Ok(());
        }
        self.control.expectations.expect(key, plan.create.len(), uids);
        let made = join_all(plan.create.iter().map(|node| self.create(key, set, hash, node))).await;
        let gone = join_all(plan.delete.iter().map(|pod| self.control.delete(key, &object, pod))).await;
        made.into_iter().chain(gone).collect()
    }

    async fn create(&self, key: &ObjectKey, set: &DaemonSet, hash: &str, node: &str) -> kube::Result<()> {
        let spec = &set.spec;
        let mut pod = pods::from_template(&spec.template, owner::controller_reference(set), &key.namespace);
        let labels = pod.metadata.labels.get_or_insert_default();
        labels.insert(REVISION.into(), hash.to_owned());
        labels.insert("pod-template-generation".into(), set.metadata.generation.unwrap_or(1).to_string());
        plan::pin(pod.spec.get_or_insert_default(), node);
        self.control.create(key, &reference(set), &pod).await
    }
}
