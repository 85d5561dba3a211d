//! Watches the metadata of everything, looks twice, deletes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::{Change, HandlerGuard, Informer, Informers, Outcome, Reconciler, Runner, WorkQueue, write};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::graph::{FOREGROUND, Graph, Item, ORPHAN, OwnerState, Policy, Verdict, Work, judge};
use crate::common::discovery::{Served, served};
use crate::context::Context;

const ACCOUNT: &str = "generic-garbage-collector";
const WORKERS: usize = 20;
/// New resources come in groups.
const SETTLE: Duration = Duration::from_millis(50);
/// Discovery that failed is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

struct Collector {
    client: kube::Client,
    graph: Mutex<Graph>,
    resources: Mutex<Vec<Served>>,
}

type Source = (HandlerGuard<Item>, Informer<Item>);

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let collector = Arc::new(Collector {
        client: context.client(ACCOUNT),
        graph: Mutex::new(Graph::default()),
        resources: Mutex::new(Vec::new()),
    });
    let runner = Runner::new(Arc::clone(&collector), WORKERS);
    let queue = runner.queue();
    let work = runner.run(shutdown.clone());
    tokio::join!(work, async {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = follow(&collector, &context.informers, &queue) => {}
        }
    });
}

/// Watches every resource that there is, and those that custom definitions add and remove.
async fn follow(collector: &Arc<Collector>, informers: &Informers, queue: &WorkQueue<Work>) {
    let mut sources: HashMap<String, Source> = HashMap::new();
    let changed = Arc::new(Notify::new());
    let mut definitions: Vec<Source> = Vec::new();
    loop {
        let all = match served(&collector.client).await {
            Ok(all) => all,
            Err(error) => {
                tracing::warn!(%error, "discovery failed");
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        let watched: Vec<_> = all.into_iter().filter(is_collected).collect();
        let key = |served: &Served| format!("{}/{}", served.resource.api_version, served.resource.plural);
        sources.retain(|name, _| watched.iter().any(|served| key(served) == *name));
        for served in watched {
            let name = key(&served);
            if definitions.is_empty() && served.name() == "customresourcedefinitions.apiextensions.k8s.io" {
                definitions.push(tell(informers, &served.resource, &changed));
            }
            sources.entry(name).or_insert_with(|| collector.watch(informers, served, queue));
        }
        for (_, informer) in sources.values() {
            // One that cannot be listed must not hold up the others.
            if tokio::time::timeout(RETRY, informer.synced()).await.is_err() {
                tracing::debug!("a resource is not synced yet");
            }
        }
        collector.graph.lock().unowned().into_iter().for_each(|work| queue.add(work));
        changed.notified().await;
        tokio::time::sleep(SETTLE).await;
    }
}

fn is_collected(served: &Served) -> bool {
    let ignored = served.resource.plural == "events";
    !ignored && served.can("delete") && served.can("list") && served.can("watch")
}

fn tell(informers: &Informers, resource: &ApiResource, changed: &Arc<Notify>) -> Source {
    let informer = informers.project_metadata(resource, |object| Item::of(object.metadata));
    let changed = Arc::clone(changed);
    (informer.on_change(move |_| changed.notify_one()), informer)
}

impl Collector {
    fn watch(self: &Arc<Self>, informers: &Informers, served: Served, queue: &WorkQueue<Work>) -> Source {
        let informer = informers.project_metadata(&served.resource, |object| Item::of(object.metadata));
        let index = {
            let mut resources = self.resources.lock();
            resources.push(served);
            resources.len() - 1
        };
        let (collector, queue) = (Arc::clone(self), queue.clone());
        let guard = informer.on_change(move |change| {
            let mut graph = collector.graph.lock();
            let work = match change {
                Change::Applied { old, new, .. } => {
                    let mut work = Vec::new();
                    if let Some(old) = old.as_ref().filter(|old| old.uid != new.uid) {
                        work = graph.remove(&old.uid);
                    }
                    work.extend(graph.apply(Item { resource: index, ..(**new).clone() }));
                    work
                }
                Change::Deleted { old, .. } => graph.remove(&old.uid),
                Change::Resync => Vec::new(),
            };
            drop(graph);
            work.into_iter().for_each(|work| queue.add(work));
        });
        (guard, informer)
    }

    fn api(&self, item: &Item) -> Option<Api<DynamicObject>> {
        let resources = self.resources.lock();
        let served = resources.get(item.resource)?;
        Some(api(&self.client, served, &item.namespace))
    }

    fn find(&self, uid: &str) -> Option<Item> {
        self.graph.lock().get(uid).cloned()
    }
}

fn api(client: &kube::Client, served: &Served, namespace: &str) -> Api<DynamicObject> {
    if served.namespaced {
        Api::namespaced_with(client.clone(), namespace, &served.resource)
    } else {
        Api::all_with(client.clone(), &served.resource)
    }
}

impl Reconciler for Collector {
    type Key = Work;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "garbage-collector"
    }

    async fn reconcile(&self, key: &Work) -> Result<Outcome, kube::Error> {
        let done = match key {
            Work::Delete(uid) => self.examine(uid).await,
            Work::Orphan(uid) => self.orphan(uid).await,
        };
        match done {
            // Somebody else was faster; the change that this makes comes.
            Err(error) if write::is_not_found(&error) => Ok(Outcome::Done),
            other => other.map(|()| Outcome::Done),
        }
    }
}

impl Collector {
    /// Looks at the object itself, since the graph may be late, and does what is due.
    async fn examine(&self, uid: &str) -> kube::Result<()> {
        let Some(item) = self.find(uid) else { return Ok(()) };
        if item.foreground {
            return self.wait_for_dependents(&item).await;
        }
        if item.deleting {
            return Ok(());
        }
        let Some(api) = self.api(&item) else { return Ok(()) };
        let mut live = api.get_metadata(&item.name).await?.metadata;
        if live.uid.as_deref() != Some(uid) || live.deletion_timestamp.is_some() {
            return Ok(());
        }
        let mut owners = Vec::new();
        for owner in live.owner_references.iter().flatten() {
            owners.push((owner.uid.clone(), self.state_of(owner, &item.namespace).await?));
        }
        let dependents = self.graph.lock().dependents(uid);
        match judge(&owners, live.finalizers.as_deref().unwrap_or_default(), !dependents.is_empty()) {
            Verdict::Keep => Ok(()),
            Verdict::DropOwners(gone) => drop_owners(&api, &live, &gone).await,
            Verdict::Delete(policy) => {
                // It and what waits for it could wait for each other: then nobody has to wait for it.
                if policy == Policy::Foreground && dependents.iter().any(|dependent| dependent.foreground) {
                    live = unblock(&api, live).await?;
                }
                delete(&api, &live, policy).await
            }
        }
    }

    async fn state_of(&self, reference: &OwnerReference, namespace: &str) -> kube::Result<OwnerState> {
        if let Some(owner) = self.find(&reference.uid) {
            let elsewhere = !owner.namespace.is_empty() && owner.namespace != namespace;
            return Ok(match () {
                () if elsewhere => OwnerState::Dangling,
                () if owner.foreground => OwnerState::Waiting,
                () => OwnerState::Solid,
            });
        }
        let known = |served: &&Served| {
            let group = reference.api_version.rsplit_once('/').map_or("", |(group, _)| group);
            served.resource.kind == reference.kind && served.resource.group == group
        };
        let Some(served) = self.resources.lock().iter().find(known).cloned() else {
            // Of a kind that is not served nothing can be said: the object stays.
            tracing::debug!(kind = reference.kind, "owner of an unknown kind");
            return Ok(OwnerState::Solid);
        };
        let found = api(&self.client, &served, namespace).get_metadata_opt(&reference.name).await?;
        let Some(owner) = found.filter(|owner| owner.metadata.uid.as_ref() == Some(&reference.uid)) else {
            return Ok(OwnerState::Dangling);
        };
        let owner = Item::of(owner.metadata);
        Ok(if owner.foreground { OwnerState::Waiting } else { OwnerState::Solid })
    }

    /// An owner goes once nothing blocks it any more.
    async fn wait_for_dependents(&self, item: &Item) -> kube::Result<()> {
        let blocking = self.graph.lock().blocking(&item.uid);
        if blocking.is_empty() {
            return self.remove_finalizer(item, FOREGROUND).await;
        }
        for dependent in blocking.iter().filter(|dependent| !dependent.deleting) {
            match Box::pin(self.examine(&dependent.uid)).await {
                Err(error) if write::is_not_found(&error) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Lets the dependents of an owner go, then the owner.
    async fn orphan(&self, uid: &str) -> kube::Result<()> {
        let Some(item) = self.find(uid).filter(|item| item.orphan) else { return Ok(()) };
        let dependents = self.graph.lock().dependents(uid);
        for dependent in dependents {
            let Some(api) = self.api(&dependent) else { continue };
            let meta = ObjectMeta { name: Some(dependent.name), uid: Some(dependent.uid), ..ObjectMeta::default() };
            match drop_owners(&api, &meta, &[uid.to_owned()]).await {
                Err(error) if write::is_not_found(&error) => {}
                other => other?,
            }
        }
        self.remove_finalizer(&item, ORPHAN).await
    }

    async fn remove_finalizer(&self, item: &Item, finalizer: &str) -> kube::Result<()> {
        let Some(api) = self.api(item) else { return Ok(()) };
        let live = api.get_metadata(&item.name).await?.metadata;
        let mut finalizers = live.finalizers.unwrap_or_default();
        if live.uid.as_deref() != Some(&*item.uid) || !finalizers.iter().any(|name| name == finalizer) {
            return Ok(());
        }
        finalizers.retain(|name| name != finalizer);
        let patch = json!({"metadata": {"uid": live.uid, "resourceVersion": live.resource_version,
            "finalizers": finalizers}});
        api.patch(&item.name, &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
    }
}

/// By a JSON merge patch, which every kind understands; the version guards what is left out.
async fn drop_owners(api: &Api<DynamicObject>, meta: &ObjectMeta, gone: &[String]) -> kube::Result<()> {
    let name = meta.name.as_deref().unwrap_or_default();
    let live = api.get_metadata(name).await?.metadata;
    if live.uid != meta.uid {
        return Ok(());
    }
    let mut owners = live.owner_references.unwrap_or_default();
    let before = owners.len();
    owners.retain(|owner| !gone.contains(&owner.uid));
    if owners.len() == before {
        return Ok(());
    }
    let patch = json!({"metadata": {"uid": live.uid, "resourceVersion": live.resource_version,
        "ownerReferences": owners}});
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
}

/// Owners no longer wait for the object.
async fn unblock(api: &Api<DynamicObject>, live: ObjectMeta) -> kube::Result<ObjectMeta> {
    let mut owners = live.owner_references.clone().unwrap_or_default();
    let blocks = |owner: &OwnerReference| owner.block_owner_deletion == Some(true);
    if !owners.iter().any(blocks) {
        return Ok(live);
    }
    owners.iter_mut().filter(|owner| blocks(owner)).for_each(|owner| owner.block_owner_deletion = Some(false));
    let patch = json!({"metadata": {"uid": live.uid, "resourceVersion": live.resource_version,
        "ownerReferences": owners}});
    let name = live.name.as_deref().unwrap_or_default();
    api.patch_metadata(name, &PatchParams::default(), &Patch::Merge(&patch)).await.map(|object| object.metadata)
}

async fn delete(api: &Api<DynamicObject>, live: &ObjectMeta, policy: Policy) -> kube::Result<()> {
    let preconditions = Preconditions { uid: live.uid.clone(), resource_version: live.resource_version.clone() };
    let params = DeleteParams {
        preconditions: Some(preconditions),
        propagation_policy: Some(match policy {
            Policy::Background => PropagationPolicy::Background,
            Policy::Foreground => PropagationPolicy::Foreground,
            Policy::Orphan => PropagationPolicy::Orphan,
        }),
        ..DeleteParams::default()
    };
    let name = live.name.as_deref().unwrap_or_default();
    tracing::debug!(name, ?policy, "deleting what has no owner left");
    api.delete(name, &params).await.map(drop)
}
