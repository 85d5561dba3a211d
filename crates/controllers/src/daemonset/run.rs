//! Reads DaemonSets, nodes and pods, makes and deletes pods, keeps the history, writes the status.

use std::collections::HashSet;
use std::sync::Arc;

use api::selector::LabelSelector;
use client::{EventRecorder, Informer, ObjectKey, Outcome, Reconciler, Runner, reference, write};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::plan::{self, Plan, REVISION};
use super::revisions::{self, Step};
use crate::common::expectations::Expectations;
use crate::common::owner::{self, Claim};
use crate::common::{pods, status};
use crate::context::{Context, start};

const ACCOUNT: &str = "daemon-set-controller";
const KIND: &str = "DaemonSet";
const WORKERS: usize = 2;

struct DaemonSets {
    client: kube::Client,
    events: EventRecorder,
    sets: Informer<DaemonSet>,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    revisions: Informer<ControllerRevision>,
    expectations: Arc<Expectations>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let sets = context.informers.get::<DaemonSet>();
    let nodes = context.informers.get::<Node>();
    let pods = context.pods();
    let revisions = context.informers.get::<ControllerRevision>();
    pods::index_by_owner(&pods);
    let expectations = Arc::new(Expectations::default());
    let reconciler = Arc::new(DaemonSets {
        client: context.client(ACCOUNT),
        events: context.recorder(ACCOUNT),
        sets: sets.clone(),
        nodes: nodes.clone(),
        pods: pods.clone(),
        revisions: revisions.clone(),
        expectations: Arc::clone(&expectations),
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
            self.expectations.forget(key);
            return Ok(Outcome::Done);
        };
        let selector = client::selector(Some(&set.spec.selector));
        let Some(selector) = selector.filter(|selector| !selector.is_empty()) else { return Ok(Outcome::Done) };
        if set.metadata.deletion_timestamp.is_some() || !self.expectations.satisfied(key) {
            return Ok(Outcome::Done);
        }
        let history = self.history(&set);
        let Some(hash) = self.revise(&set, &history).await? else { return Ok(Outcome::Done) };
        let owned = self.claim(&set, &selector).await?;
        let (nodes, now) = (self.nodes.list(), Timestamp::now());
        let done = self.carry_out(key, &set, &hash, plan::plan(&set, &nodes, &owned, &hash, now)).await;
        let status = plan::status(&set, &nodes, &owned, &hash, now);
        let api = Api::<DaemonSet>::namespaced(self.client.clone(), &key.namespace);
        match status::write_status(&api, &*set, |set| set.status = Some(status.clone())).await {
            Err(error) if !write::is_not_found(&error) => return Err(error),
            _ => {}
        }
        done?;
        self.forget(&set, &history, &owned).await?;
        let seconds = set.spec.min_ready_seconds.filter(|seconds| *seconds > 0);
        let waiting = seconds.and_then(|seconds| {
            let late = owned.iter().filter(|pod| !pods::is_available(pod, seconds, now));
            late.filter_map(|pod| pods::becomes_available(pod, seconds, now)).min()
        });
        Ok(waiting.map_or(Outcome::Done, Outcome::RequeueAfter))
    }
}

impl DaemonSets {
    fn history(&self, set: &DaemonSet) -> Vec<Arc<ControllerRevision>> {
        let mut revisions = self.revisions.list_namespace(set.metadata.namespace.as_deref().unwrap_or_default());
        revisions.retain(|r| owner::controller_of(&r.metadata).map(|o| &o.uid) == set.metadata.uid.as_ref());
        revisions
    }

    /// The hash of the current template; none while the history is being written, whose change comes.
    async fn revise(&self, set: &DaemonSet, history: &[Arc<ControllerRevision>]) -> kube::Result<Option<String>> {
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        let api = Api::<ControllerRevision>::namespaced(self.client.clone(), namespace);
        match revisions::step(set, history) {
            Step::Current(hash) => Ok(Some(hash)),
            Step::Raise(name, number) => {
                let patch = json!({"revision": number});
                api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
                Ok(None)
            }
            Step::Create(revision) => match api.create(&PostParams::default(), &revision).await {
                Ok(made) => Ok(Some(revisions::hash_of(&made))),
                Err(error) if write::is_already_exists(&error) => Ok(Some(revisions::hash_of(&revision))),
                Err(error) => Err(error),
            },
        }
    }

    async fn claim(&self, set: &DaemonSet, selector: &LabelSelector) -> kube::Result<Vec<Arc<Pod>>> {
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let mut owned = Vec::new();
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        for pod in pods::candidates(&self.pods, uid, namespace) {
            match owner::claim(&set.metadata, selector, &pod.metadata) {
                Claim::Owned => owned.push(pod),
                Claim::Foreign => {}
                Claim::Release => {
                    owner::release(&api, &pod.metadata, uid).await?;
                }
                Claim::Adopt => {
                    owner::adopt(&api, &pod.metadata, &owner::controller_reference(set)).await?;
                    owned.push(pod);
                }
            }
        }
        Ok(owned)
    }

    async fn carry_out(&self, key: &ObjectKey, set: &DaemonSet, hash: &str, plan: Plan) -> kube::Result<()> {
        let object = reference(set);
        for pod in &plan.failed {
            let (name, node) =
                (pod.metadata.name.as_deref().unwrap_or_default(), plan::node_of(pod).unwrap_or_default());
            let message =
                format!("Found failed daemon pod {}/{name} on node {node}, will try to kill it", key.namespace);
            self.events.warning(&object, "FailedDaemonPod", message);
        }
        let uids: HashSet<_> = plan.delete.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
        if plan.create.is_empty() && uids.is_empty() {
            return Ok(());
        }
        self.expectations.expect(key, plan.create.len(), uids);
        let made = join_all(plan.create.iter().map(|node| self.create(key, set, hash, node))).await;
        let gone = join_all(plan.delete.iter().map(|pod| self.delete(key, set, pod))).await;
        made.into_iter().chain(gone).collect()
    }

    async fn create(&self, key: &ObjectKey, set: &DaemonSet, hash: &str, node: &str) -> kube::Result<()> {
        let spec = &set.spec;
        let mut pod = pods::from_template(&spec.template, owner::controller_reference(set), &key.namespace);
        let labels = pod.metadata.labels.get_or_insert_default();
        labels.insert(REVISION.into(), hash.to_owned());
        labels.insert("pod-template-generation".into(), set.metadata.generation.unwrap_or(1).to_string());
        plan::pin(pod.spec.get_or_insert_default(), node);
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        match api.create(&PostParams::default(), &pod).await {
            Ok(made) => {
                let message = format!("Created pod: {}", made.metadata.name.unwrap_or_default());
                self.events.normal(&reference(set), "SuccessfulCreate", message);
                Ok(())
            }
            Err(error) => {
                self.expectations.created(key);
                self.events.warning(&reference(set), "FailedCreate", format!("Error creating: {error}"));
                Err(error)
            }
        }
    }

    async fn delete(&self, key: &ObjectKey, set: &DaemonSet, pod: &Pod) -> kube::Result<()> {
        let (name, uid) = (pod.metadata.name.as_deref().unwrap_or_default(), pod.metadata.uid.clone());
        let preconditions = Preconditions { uid: uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        let Err(error) = api.delete(name, &params).await else {
            self.events.normal(&reference(set), "SuccessfulDelete", format!("Deleted pod: {name}"));
            return Ok(());
        };
        self.expectations.deleted(key, uid.as_deref().unwrap_or_default());
        if write::is_not_found(&error) { Ok(()) } else { Err(error) }
    }

    async fn forget(
        &self,
        set: &DaemonSet,
        history: &[Arc<ControllerRevision>],
        owned: &[Arc<Pod>],
    ) -> kube::Result<()> {
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        let api = Api::<ControllerRevision>::namespaced(self.client.clone(), namespace);
        let used = |hash: &str| owned.iter().any(|pod| plan::is_current(pod, hash));
        for revision in revisions::surplus(set, history, used) {
            let name = revision.metadata.name.as_deref().unwrap_or_default();
            match api.delete(name, &DeleteParams::default()).await {
                Err(error) if write::is_not_found(&error) => {}
                other => drop(other?),
            }
        }
        Ok(())
    }
}
