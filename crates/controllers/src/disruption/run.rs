//! Reads budgets, pods and who made them, writes the status.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{EventRecorder, Informer, ObjectKey, Outcome, Reconciler, Runner, reference, write};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::autoscaling::v1::Scale as ScaleObject;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use kube::api::PostParams;
use tokio_util::sync::CancellationToken;

use super::plan::{self, Scale};
use crate::common::{owner, scale};
use crate::context::{Context, start};

const ACCOUNT: &str = "disruption-controller";
const WORKERS: usize = 2;

struct Disruption {
    client: kube::Client,
    events: EventRecorder,
    budgets: Informer<PodDisruptionBudget>,
    pods: Informer<Pod>,
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let budgets = context.informers.get::<PodDisruptionBudget>();
    let pods = context.pods();
    let deployments = context.informers.get::<Deployment>();
    let sets = context.informers.get::<ReplicaSet>();
    let reconciler = Arc::new(Disruption {
        client: context.client(ACCOUNT),
        events: context.recorder(ACCOUNT),
        budgets: budgets.clone(),
        pods: pods.clone(),
        deployments: deployments.clone(),
        sets: sets.clone(),
    });
    let (of_pods, of_deployments) = (budgets.clone(), budgets.clone());
    let runner = Runner::new(reconciler, WORKERS)
        .watch(&budgets, |budget: &PodDisruptionBudget| Some(ObjectKey::of(&budget.metadata)))
        .watch(&pods, move |pod: &Pod| guarding(&of_pods, pod))
        .watch(&deployments, move |deployment: &Deployment| {
            let budgets = of_deployments.list_namespace(deployment.metadata.namespace.as_deref().unwrap_or_default());
            budgets.iter().map(|budget| ObjectKey::of(&budget.metadata)).collect::<Vec<_>>()
        });
    let synced = async {
        budgets.synced().await;
        pods.synced().await;
        deployments.synced().await;
        sets.synced().await;
    };
    start(runner, synced, shutdown).await;
}

fn selects(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = client::selector(budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()));
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    selector.is_some_and(|selector| selector.matches(&labels))
}

fn guarding(budgets: &Informer<PodDisruptionBudget>, pod: &Pod) -> Vec<ObjectKey> {
    let budgets = budgets.list_namespace(pod.metadata.namespace.as_deref().unwrap_or_default());
    budgets.iter().filter(|budget| selects(budget, pod)).map(|budget| ObjectKey::of(&budget.metadata)).collect()
}

impl Reconciler for Disruption {
    type Key = ObjectKey;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "disruption"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, kube::Error> {
        let Some(budget) = self.budgets.find(key) else { return Ok(Outcome::Done) };
        let mut selected = self.pods.list_namespace(&key.namespace);
        selected.retain(|pod| selects(&budget, pod));
        let scales = if plan::needs_scales(&budget) {
            self.scales(&key.namespace, &selected).await
        } else {
            Ok(BTreeMap::new())
        };
        let now = Timestamp::now();
        let (status, again, failure) = match scales {
            Ok(scales) => {
                let plan = plan::plan(&budget, &selected, &scales, now);
                for pod in &plan.stayed {
                    let why = format!("Pod was expected by PDB {key} to be deleted but it wasn't");
                    self.events.warning(&reference(&**pod), "NotDeleted", why);
                }
                (plan.status, plan.again, None)
            }
            Err(error) => {
                let why = error.to_string();
                let said = format!("Failed to calculate the number of expected pods: {why}");
                self.events.warning(&reference(&*budget), "CalculateExpectedPodCountFailed", said);
                (plan::failed(&budget, &why, now), None, Some(error))
            }
        };
        if budget.status.as_ref() != Some(&status) {
            // As what was looked at, or not at all: an eviction may have been granted meanwhile.
            let new = PodDisruptionBudget { status: Some(status), ..(*budget).clone() };
            let api = Api::<PodDisruptionBudget>::namespaced(self.client.clone(), &key.namespace);
            match api.replace_status(&key.name, &PostParams::default(), &new).await {
                Err(error) if write::is_not_found(&error) => return Ok(Outcome::Done),
                other => drop(other?),
            }
        }
        failure.map_or(Ok(again.map_or(Outcome::Done, Outcome::RequeueAfter)), Err)
    }
}

impl Disruption {
    /// What the controllers of these pods want, by their uid.
    async fn scales(&self, namespace: &str, pods: &[Arc<Pod>]) -> kube::Result<BTreeMap<String, Scale>> {
        let mut scales = BTreeMap::new();
        for reference in pods.iter().filter_map(|pod| owner::controller_of(&pod.metadata)) {
            if !scales.contains_key(&reference.uid)
                && let Some(scale) = self.scale(namespace, reference).await?
            {
                scales.insert(reference.uid.clone(), scale);
            }
        }
        Ok(scales)
    }

    /// Of a set of a Deployment, the Deployment's.
    async fn scale(&self, namespace: &str, reference: &OwnerReference) -> kube::Result<Option<Scale>> {
        if reference.kind == "ReplicaSet"
            && let Some(set) = self.sets.get(namespace, &reference.name)
        {
            let above = owner::owned_by("Deployment", &set.metadata).and_then(|key| self.deployments.find(&key));
            let (uid, replicas) = match &above {
                Some(deployment) => (&deployment.metadata.uid, deployment.spec.replicas),
                None => (&set.metadata.uid, set.spec.replicas),
            };
            let replicas = replicas.unwrap_or(1);
            return Ok(Some(Scale { uid: uid.clone().unwrap_or_default(), replicas }));
        }
        let found: Option<ScaleObject> =
            scale::get(&self.client, namespace, &reference.api_version, &reference.kind, &reference.name).await?;
        let replicas = found.and_then(|scale| scale.spec).and_then(|spec| spec.replicas);
        Ok(replicas.map(|replicas| Scale { uid: reference.uid.clone(), replicas }))
    }
}
