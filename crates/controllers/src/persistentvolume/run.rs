//! Looks at claims and volumes, writes what is planned.

use std::collections::HashSet;
use std::sync::Arc;

use client::volumes::{self, waits_for_consumer};
use client::{EventRecorder, Informer, ObjectKey, Outcome, Reconciler, Runner, WorkQueue};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Api;
use kube::api::PostParams;
use tokio_util::sync::CancellationToken;

use super::plan::{self, Event, Plan, View, Write};
use super::plan_volume;
use crate::common::{claims, pods};
use crate::context::{Context, start};

const ACCOUNT: &str = "persistent-volume-binder";
const WORKERS: usize = 4;
/// Claims without a volume by their class; without a class it is [`OPEN`].
const WAITING: &str = "waiting";
const OPEN: &str = "";

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    Claim(ObjectKey),
    Volume(String),
}

struct Binder {
    client: kube::Client,
    events: EventRecorder,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    classes: Informer<StorageClass>,
    pods: Informer<Pod>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let claims = context.informers.get::<PersistentVolumeClaim>();
    let volumes = context.informers.get::<PersistentVolume>();
    let classes = context.informers.get::<StorageClass>();
    let pods = context.pods();
    claims::index_by_claim(&pods);
    claims.add_index(WAITING, |claim| match volumes::volume_name(claim) {
        "" => vec![volumes::claim_class(claim).unwrap_or(OPEN).to_owned()],
        _ => Vec::new(),
    });
    let binder = Binder {
        client: context.client(ACCOUNT),
        events: context.recorder("persistentvolume-controller"),
        claims: claims.clone(),
        volumes: volumes.clone(),
        classes: classes.clone(),
        pods: pods.clone(),
    };
    let runner = Runner::new(Arc::new(binder), WORKERS)
        .watch(&claims, |claim: &PersistentVolumeClaim| {
            let volume = volumes::volume_name(claim);
            let volume = (!volume.is_empty()).then(|| Key::Volume(volume.to_owned()));
            [Some(Key::Claim(ObjectKey::of(&claim.metadata))), volume].into_iter().flatten()
        })
        .watch(&volumes, |volume: &PersistentVolume| {
            let own = volume.metadata.name.clone().map(Key::Volume);
            [own, volumes::claim_key(volume).map(Key::Claim)].into_iter().flatten()
        });
    let (queue, waiting) = (runner.queue(), claims.clone());
    let _volumes = volumes.on_change(move |change| {
        if let client::Change::Applied { new, .. } = change
            && volumes::claim_ref(new).is_none()
        {
            wake(&queue, &waiting, volumes::volume_class(new));
        }
    });
    let (queue, waiting) = (runner.queue(), claims.clone());
    let _classes = classes.on_change(move |change| {
        if let client::Change::Applied { new, .. } = change {
            wake(&queue, &waiting, new.metadata.name.as_deref().unwrap_or_default());
            wake(&queue, &waiting, OPEN);
        }
    });
    let synced = async {
        volumes.synced().await;
        classes.synced().await;
        pods.synced().await;
        claims.synced().await;
    };
    start(runner, synced, shutdown).await;
}

/// Claims of this class may find something now.
fn wake(queue: &WorkQueue<Key>, claims: &Informer<PersistentVolumeClaim>, class: &str) {
    claims.by_index(WAITING, class).iter().for_each(|claim| queue.add(Key::Claim(ObjectKey::of(&claim.metadata))));
}

impl Reconciler for Binder {
    type Key = Key;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "persistentvolume-binder"
    }

    async fn reconcile(&self, key: &Key) -> Result<Outcome, kube::Error> {
        match key {
            Key::Claim(key) => {
                let Some(claim) = self.claims.find(key) else { return Ok(Outcome::Done) };
                let named = self.named(&claim).await?;
                let plan = self.plan_claim(&claim, named.as_deref());
                self.carry_out(plan, &client::reference(&*claim)).await?;
            }
            Key::Volume(name) => {
                let Some(volume) = self.volumes.get("", name) else { return Ok(Outcome::Done) };
                let claim = self.claim_of(&volume).await?;
                let plan = plan_volume::volume(&volume, claim.as_deref());
                self.carry_out(plan, &client::reference(&*volume)).await?;
            }
        }
        Ok(Outcome::Done)
    }
}

impl Binder {
    /// The volume that a claim names. That it is lost is asked of the API server: the cache may lag behind.
    async fn named(&self, claim: &PersistentVolumeClaim) -> kube::Result<Option<Arc<PersistentVolume>>> {
        let name = volumes::volume_name(claim);
        let known = self.volumes.get("", name);
        if name.is_empty() || known.is_some() {
            return Ok(known);
        }
        Ok(Api::<PersistentVolume>::all(self.client.clone()).get_opt(name).await?.map(Arc::new))
    }

    fn plan_claim(&self, claim: &PersistentVolumeClaim, named: Option<&PersistentVolume>) -> Plan {
        let name = volumes::volume_name(claim);
        let class = volumes::claim_class(claim).filter(|name| !name.is_empty());
        let class = class.and_then(|name| self.classes.get("", name));
        let all = if name.is_empty() { self.volumes.list() } else { Vec::new() };
        let selected = volumes::annotation(&claim.metadata, volumes::SELECTED_NODE).is_some();
        let delayed = class.as_deref().is_some_and(waits_for_consumer) && !selected;
        let best = volumes::best(claim, &all, None, &HashSet::new(), delayed);
        let classes = self.classes.list();
        let key = ObjectKey::of(&claim.metadata).to_string();
        let users = self.pods.by_index(claims::BY_CLAIM, &key);
        let waiting = users.iter().filter(|pod| pods::node(pod).is_none());
        let view = View {
            named,
            best: best.map(|volume| &**volume),
            class: class.as_deref(),
            default_class: volumes::default_class(classes.iter().map(|class| &**class)),
            waiting: waiting.filter_map(|pod| pod.metadata.name.clone()).collect(),
        };
        plan::claim(claim, &view)
    }

    /// The claim that a volume names. That it is gone is asked of the API server: the cache may lag behind.
    async fn claim_of(&self, volume: &PersistentVolume) -> kube::Result<Option<Arc<PersistentVolumeClaim>>> {
        let Some(key) = volumes::claim_key(volume) else { return Ok(None) };
        let uid = volumes::claim_ref(volume).and_then(|reference| reference.uid.clone());
        let known = self.claims.find(&key).filter(|claim| claim.metadata.uid == uid);
        if known.is_some() || matches!(plan::volume_phase(volume), "Released" | "Failed") || uid.is_none() {
            return Ok(known);
        }
        let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), &key.namespace);
        Ok(api.get_opt(&key.name).await?.map(Arc::new))
    }

    async fn carry_out(&self, plan: Plan, object: &k8s_openapi::api::core::v1::ObjectReference) -> kube::Result<()> {
        if let Some(write) = plan.write {
            match self.write(write).await {
                Err(error) if client::write::is_not_found(&error) => return Ok(()),
                other => other?,
            }
        }
        if let Some(Event { warning, reason, message }) = plan.event {
            let kind = if warning { client::EventType::Warning } else { client::EventType::Normal };
            self.events.event(object, kind, reason, message);
        }
        Ok(())
    }

    async fn write(&self, write: Write) -> kube::Result<()> {
        let params = PostParams::default();
        let volumes = Api::<PersistentVolume>::all(self.client.clone());
        let claims = |claim: &PersistentVolumeClaim| {
            let namespace = claim.metadata.namespace.as_deref().unwrap_or_default();
            Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), namespace)
        };
        let name = |meta: &kube::api::ObjectMeta| meta.name.clone().unwrap_or_default();
        match write {
            Write::Volume(volume) => volumes.replace(&name(&volume.metadata), &params, &volume).await.map(drop),
            Write::VolumeStatus(volume) => {
                volumes.replace_status(&name(&volume.metadata), &params, &volume).await.map(drop)
            }
            Write::Claim(claim) => claims(&claim).replace(&name(&claim.metadata), &params, &claim).await.map(drop),
            Write::ClaimStatus(claim) => {
                claims(&claim).replace_status(&name(&claim.metadata), &params, &claim).await.map(drop)
            }
        }
    }
}
