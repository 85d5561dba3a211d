//! Answers claims, deletes volumes whose claim is gone.

use std::sync::Arc;

use client::volumes::{self, annotation};
use client::{EventRecorder, Informer, ObjectKey, Outcome, Reconciler, Runner, write};
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::plan::{self, Answer, Fate};
use crate::context::{Context, start};

const ACCOUNT: &str = "local-path-provisioner";

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    /// The class that a cluster begins with.
    Class,
    Claim(ObjectKey),
    Volume(String),
}

struct LocalPath {
    client: kube::Client,
    events: EventRecorder,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    classes: Informer<StorageClass>,
    nodes: Informer<Node>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let claims = context.informers.get::<PersistentVolumeClaim>();
    let volumes = context.informers.get::<PersistentVolume>();
    let classes = context.informers.get::<StorageClass>();
    let nodes = context.informers.get::<Node>();
    let reconciler = LocalPath {
        client: context.client(ACCOUNT),
        events: context.recorder(plan::PROVISIONER),
        claims: claims.clone(),
        volumes: volumes.clone(),
        classes: classes.clone(),
        nodes: nodes.clone(),
    };
    let runner = Runner::new(Arc::new(reconciler), 4)
        .watch(&claims, |claim: &PersistentVolumeClaim| {
            let asked = annotation(&claim.metadata, volumes::PROVISIONER) == Some(plan::PROVISIONER);
            asked.then(|| Key::Claim(ObjectKey::of(&claim.metadata)))
        })
        .watch(&volumes, |volume: &PersistentVolume| volume.metadata.name.clone().map(Key::Volume));
    let (queue, there) = (runner.queue(), volumes.clone());
    let _nodes = nodes.on_change(move |change| {
        if let client::Change::Deleted { .. } = change {
            there.list().iter().filter_map(|v| v.metadata.name.clone()).for_each(|name| queue.add(Key::Volume(name)));
        }
    });
    runner.queue().add(Key::Class);
    let synced = async {
        classes.synced().await;
        nodes.synced().await;
        volumes.synced().await;
        claims.synced().await;
    };
    start(runner, synced, shutdown).await;
}

impl Reconciler for LocalPath {
    type Key = Key;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "local-path"
    }

    async fn reconcile(&self, key: &Key) -> Result<Outcome, kube::Error> {
        match key {
            Key::Class => self.make_class().await?,
            Key::Claim(key) => self.answer(key).await?,
            Key::Volume(name) => self.settle(name).await?,
        }
        Ok(Outcome::Done)
    }
}

impl LocalPath {
    /// Only in a cluster without any class: a deleted one stays deleted as long as there is another.
    async fn make_class(&self) -> kube::Result<()> {
        let api = Api::<StorageClass>::all(self.client.clone());
        if !api.list_metadata(&ListParams::default().limit(1)).await?.items.is_empty() {
            return Ok(());
        }
        let mut class = plan::class();
        let annotations = class.metadata.annotations.get_or_insert_default();
        annotations.insert(volumes::DEFAULT_CLASS.to_owned(), "true".to_owned());
        match api.create(&PostParams::default(), &class).await {
            Err(error) if write::is_already_exists(&error) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn answer(&self, key: &ObjectKey) -> kube::Result<()> {
        let Some(claim) = self.claims.find(key) else { return Ok(()) };
        let class = volumes::claim_class(&claim).and_then(|name| self.classes.get("", name));
        let Some(class) = class.filter(|_| claim.metadata.deletion_timestamp.is_none()) else { return Ok(()) };
        let node = annotation(&claim.metadata, volumes::SELECTED_NODE).and_then(|name| self.nodes.get("", name));
        let refused = |why: &str| {
            let message = format!(
                "failed to provision volume with StorageClass {:?}: {why}",
                volumes::claim_class(&claim).unwrap_or_default()
            );
            self.events.warning(&client::reference(&*claim), "ProvisioningFailed", message);
        };
        match plan::provision(&claim, &class, node.as_deref()) {
            Answer::None => Ok(()),
            Answer::Refuse(why) => {
                refused(&why);
                Ok(())
            }
            Answer::Reschedule(why) => {
                refused(&why);
                let patch = json!({"metadata": {"annotations": {volumes::SELECTED_NODE: null}}});
                let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), &key.namespace);
                api.patch(&key.name, &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
            }
            Answer::Make(volume) => {
                let name = volume.metadata.name.clone().unwrap_or_default();
                if self.volumes.get("", &name).is_some() {
                    return Ok(());
                }
                match Api::<PersistentVolume>::all(self.client.clone()).create(&PostParams::default(), &volume).await {
                    Err(error) if write::is_already_exists(&error) => return Ok(()),
                    other => drop(other?),
                }
                let message = format!("Successfully provisioned volume {name}");
                self.events.normal(&client::reference(&*claim), "ProvisioningSucceeded", message);
                Ok(())
            }
        }
    }

    async fn settle(&self, name: &str) -> kube::Result<()> {
        let Some(volume) = self.volumes.get("", name) else { return Ok(()) };
        let labels = volume.metadata.labels.as_ref();
        let node = labels.and_then(|labels| labels.get(plan::NODE)).map(String::as_str).unwrap_or_default();
        let api = Api::<PersistentVolume>::all(self.client.clone());
        let done = match plan::fate(&volume, self.nodes.get("", node).is_some()) {
            Fate::Stay => return Ok(()),
            Fate::Delete => {
                let preconditions = Preconditions { uid: volume.metadata.uid.clone(), resource_version: None };
                let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
                api.delete(name, &params).await.map(drop)
            }
            Fate::LetGo => {
                let mut kept = volume.metadata.finalizers.clone().unwrap_or_default();
                kept.retain(|finalizer| finalizer != plan::FINALIZER);
                let version = &volume.metadata.resource_version;
                let patch = json!({"metadata": {"resourceVersion": version, "finalizers": kept}});
                api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
            }
        };
        match done {
            Err(error) if write::is_not_found(&error) => Ok(()),
            other => other,
        }
    }
}
