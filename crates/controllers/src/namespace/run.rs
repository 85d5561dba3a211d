//! Deletes what is in a namespace that is to end, says what is left, lets it go.

use std::sync::Arc;
use std::time::Duration;

use client::{Informer, Outcome, Reconciler, Runner};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use tokio_util::sync::CancellationToken;

use super::plan::{Remains, conditions};
use crate::common::discovery::{Served, served};
use crate::common::{pods, status};
use crate::context::{Context, start};

const ACCOUNT: &str = "namespace-controller";
const FINALIZER: &str = "kubernetes";
const WORKERS: usize = 10;
/// Requests at once for one namespace.
const PARALLEL: usize = 8;
/// What has finalizers of others is looked at again after this; the end of pods is noticed.
const AGAIN: Duration = Duration::from_secs(2);
/// The grace of pods is over after this, so that nothing tells of them: look a little later.
const MARGIN: Duration = Duration::from_secs(1);

struct Namespaces {
    client: kube::Client,
    namespaces: Informer<Namespace>,
    pods: Informer<Pod>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let namespaces = context.informers.get::<Namespace>();
    let pods = context.pods();
    let client = context.client(ACCOUNT);
    let ending = namespaces.clone();
    let reconciler = Namespaces { client, namespaces: namespaces.clone(), pods: pods.clone() };
    let runner = Runner::new(Arc::new(reconciler), WORKERS)
        .watch(&namespaces, |namespace: &Namespace| namespace.metadata.name.clone().filter(|_| is_ending(namespace)))
        .watch(&pods, move |pod: &Pod| {
            let name = pod.metadata.namespace.clone()?;
            let ends = pods::is_terminating(pod) && ending.get("", &name).is_some_and(|ns| is_ending(&ns));
            ends.then_some(name)
        });
    let synced = async {
        namespaces.synced().await;
        pods.synced().await;
    };
    start(runner, synced, shutdown).await;
}

fn is_ending(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_some()
        && namespace.spec.iter().flat_map(|spec| spec.finalizers.iter().flatten()).any(|name| name == FINALIZER)
}

impl Reconciler for Namespaces {
    type Key = String;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "namespace"
    }

    async fn reconcile(&self, key: &String) -> Result<Outcome, kube::Error> {
        let Some(namespace) = self.namespaces.get("", key).filter(|namespace| is_ending(namespace)) else {
            return Ok(Outcome::Done);
        };
        let remains = self.empty(key).await;
        let reported = match self.report(&namespace, &remains).await {
            Err(error) if client::write::is_not_found(&error) => return Ok(Outcome::Done),
            other => other?,
        };
        if !remains.is_empty() {
            return Ok(Outcome::RequeueAfter(self.patience(key)));
        }
        let mut ended = reported;
        if let Some(spec) = &mut ended.spec {
            spec.finalizers.get_or_insert_default().retain(|name| name != FINALIZER);
        }
        let api = Api::<Namespace>::all(self.client.clone());
        match api.replace_subresource("finalize", key, &PostParams::default(), &ended).await {
            Err(error) if client::write::is_not_found(&error) => Ok(Outcome::Done),
            other => other.map(|_| Outcome::Done),
        }
    }
}

impl Namespaces {
    /// Deletes all there is, pods first: others may need what is beside them until they have ended.
    async fn empty(&self, namespace: &str) -> Remains {
        let all = match served(&self.client).await {
            Ok(all) => all,
            Err(error) => return Remains { discovery: Some(error.to_string()), ..Remains::default() },
        };
        let content = all.into_iter().filter(|served| served.namespaced && served.can("delete") && served.can("list"));
        let (first, rest): (Vec<_>, Vec<_>) = content.partition(|served| served.name() == "pods");
        let mut remains = Remains::default();
        for group in [first, rest] {
            let results = stream::iter(group.into_iter().map(|served| self.clear(namespace, served)));
            let results: Vec<_> = results.buffer_unordered(PARALLEL).collect().await;
            results.into_iter().for_each(|result| remains.merge(result));
            if !remains.is_empty() {
                break;
            }
        }
        remains
    }

    async fn clear(&self, namespace: &str, served: Served) -> Remains {
        match self.try_clear(namespace, &served).await {
            Ok(remains) => remains,
            Err(error) if matches!(client::write::code(&error), Some(404 | 405)) => Remains::default(),
            Err(error) => Remains { failures: vec![format!("{}: {error}", served.name())], ..Remains::default() },
        }
    }

    async fn try_clear(&self, namespace: &str, served: &Served) -> kube::Result<Remains> {
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, &served.resource);
        let there = api.list_metadata(&ListParams::default()).await?;
        if there.items.is_empty() {
            return Ok(Remains::default());
        }
        let params = DeleteParams::background();
        if served.can("deletecollection") {
            api.delete_collection(&params, &ListParams::default()).await?;
        } else {
            for object in there.items.iter().filter(|object| object.metadata.deletion_timestamp.is_none()) {
                match api.delete(object.metadata.name.as_deref().unwrap_or_default(), &params).await {
                    Err(error) if client::write::is_not_found(&error) => {}
                    other => drop(other?),
                }
            }
        }
        let left = api.list_metadata(&ListParams::default()).await?;
        let mut remains = Remains::default();
        if !left.items.is_empty() {
            let resource = format!("{}.{}", served.resource.plural, served.resource.group);
            remains.objects.insert(resource, left.items.len());
        }
        for finalizer in left.items.iter().flat_map(|object| object.metadata.finalizers.iter().flatten()) {
            *remains.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
        Ok(remains)
    }

    async fn report(&self, namespace: &Namespace, remains: &Remains) -> kube::Result<Namespace> {
        let now = Timestamp::now();
        let api = Api::<Namespace>::all(self.client.clone());
        let say = |namespace: &mut Namespace| {
            let status = namespace.status.get_or_insert_default();
            status.phase = Some("Terminating".into());
            status.conditions = Some(conditions(status.conditions.as_deref().unwrap_or_default(), remains, now));
        };
        status::write_status(&api, namespace, say).await
    }

    /// The longest grace of a pod that is still there.
    fn patience(&self, namespace: &str) -> Duration {
        let pods = self.pods.list_namespace(namespace);
        let grace = pods.iter().filter_map(|pod| pod.metadata.deletion_grace_period_seconds).max();
        let grace = grace.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
        grace.map_or(AGAIN, |grace| grace + MARGIN)
    }
}
