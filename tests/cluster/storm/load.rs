//! Clients that create, change and delete objects, one that scales and deletes pods, and others that watch; all in the cluster's network.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tests::Cluster;
use tokio::task::JoinSet;

use super::history::{self, Acknowledged, History, Stored};
use super::objects;

/// Replicas in the end.
pub(super) const REPLICAS: usize = 4;
const WRITERS: u64 = 6;
const KEYS: u64 = 5;
/// Between two writes of a client.
const PACE: Duration = Duration::from_millis(40);
/// A client does not wait longer for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the clients have come to, and whether they are to stop.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    acknowledged: AtomicUsize,
    refused: AtomicUsize,
    stop: AtomicBool,
}

impl Tally {
    pub(super) fn acknowledged(&self) -> usize {
        self.0.acknowledged.load(Ordering::Relaxed)
    }

    /// Requests that were refused or not answered.
    pub(super) fn refused(&self) -> usize {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// The clients stop when this is dropped.
    pub(super) fn stop_on_drop(&self) -> impl Drop + use<> {
        struct Stop(Tally);
        impl Drop for Stop {
            fn drop(&mut self) {
                self.0.0.stop.store(true, Ordering::Relaxed);
            }
        }
        Stop(self.clone())
    }

    fn stopped(&self) -> bool {
        self.0.stop.load(Ordering::Relaxed)
    }
}

/// What came of it.
pub(super) struct Outcome {
    pub(super) acknowledged: Vec<Acknowledged>,
    pub(super) histories: Vec<History>,
    /// What is there in the end, by each master.
    pub(super) left: Vec<HashMap<String, Stored>>,
}

/// The clients.
pub(super) struct Load {
    netns: PathBuf,
    kubeconfig: PathBuf,
    /// Addresses of the masters.
    masters: Vec<String>,
    seed: u64,
    tally: Tally,
}

impl Load {
    pub(super) fn new(cluster: &Cluster, seed: u64, tally: Tally) -> Self {
        let machines = cluster.status()["machines"].as_array().cloned().unwrap();
        let masters = machines.iter().map(|m| format!("https://{}:6443", m["address"].as_str().unwrap())).collect();
        let kubeconfig = cluster.directory().join("admin.kubeconfig");
        Self { netns: cluster.netns(), kubeconfig, masters, seed, tally }
    }

    /// Runs until the tally says stop, on the thread that calls, which is in the cluster's network from then on.
    pub(super) fn run(&self) -> Outcome {
        sys::namespace::enter_net(&self.netns).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(self.clients())
    }

    /// A client of the cluster's one address.
    async fn client(&self) -> kube::Client {
        client::connect::from_kubeconfig(&self.kubeconfig).await.unwrap()
    }

    async fn clients(&self) -> Outcome {
        let mut masters = Vec::new();
        for server in &self.masters {
            let server = server.parse().unwrap();
            masters.push(objects(client::connect::from_kubeconfig_to(&self.kubeconfig, server).await.unwrap()));
        }
        let last = tokio::sync::watch::Sender::new(u64::MAX);
        let (mut watching, mut writing) = (JoinSet::new(), JoinSet::new());
        for watched in [objects(self.client().await), objects(self.client().await)].iter().chain(&masters) {
            watching.spawn(history::follow(watched.clone(), last.subscribe()));
        }
        for own in 0..WRITERS {
            let dice = StdRng::seed_from_u64(self.seed.wrapping_add(own));
            writing.spawn(write(objects(self.client().await), own, dice, self.tally.clone()));
        }
        let (scaled, pods) = (self.client().await, self.client().await);
        let (scaled, pods) = (Api::namespaced(scaled, "storm"), Api::namespaced(pods, "storm"));
        disturb(scaled, pods, StdRng::seed_from_u64(self.seed), self.tally.clone()).await;
        let acknowledged = writing.join_all().await.into_iter().flatten().collect();
        // The last word: when it has come, everything before it has.
        last.send_replace(last_word(objects(self.client().await)).await);
        let histories = watching.join_all().await;
        let mut left = Vec::new();
        for master in &masters {
            left.push(history::list(master).await.1);
        }
        Outcome { acknowledged, histories, left }
    }
}

/// An answer in time.
async fn answered<T>(call: impl Future<Output = kube::Result<T>>) -> Option<kube::Result<T>> {
    tokio::time::timeout(PATIENCE, call).await.ok()
}

fn object(name: &str, value: &str) -> ConfigMap {
    let mut map = ConfigMap { data: Some([("value".to_owned(), value.to_owned())].into()), ..ConfigMap::default() };
    map.metadata.name = Some(name.to_owned());
    map
}

/// Creates, changes and deletes objects of its own until it is told to stop. Every write names the state that it is for, so that
/// one that was not answered and comes late does no harm.
async fn write(api: Api<ConfigMap>, own: u64, mut dice: StdRng, tally: Tally) -> Vec<Acknowledged> {
    // What is there; a name that is not in here has to be read.
    let mut known: HashMap<String, Option<ConfigMap>> = HashMap::new();
    let (mut done, mut number) = (Vec::new(), 0);
    let mut pace = tokio::time::interval(PACE);
    while !tally.stopped() {
        pace.tick().await;
        let name = format!("w{own}-{}", dice.random_range(0..KEYS));
        let present = match known.remove(&name) {
            Some(present) => present,
            None => match answered(api.get_opt(&name)).await {
                Some(Ok(present)) => present,
                _ => {
                    tally.0.refused.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
            },
        };
        number += 1;
        let deletes = dice.random_range(0..4) == 0;
        match change(&api, &name, &format!("{own}.{number}"), present, deletes).await {
            Some(Ok((now, acknowledged))) => {
                known.insert(name, now);
                done.push(acknowledged);
                tally.0.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            // An earlier write that was not answered had its effect after all.
            Some(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {}
            _ => drop(tally.0.refused.fetch_add(1, Ordering::Relaxed)),
        }
    }
    done
}

/// One write, and what is there after it.
async fn change(
    api: &Api<ConfigMap>,
    name: &str,
    value: &str,
    present: Option<ConfigMap>,
    deletes: bool,
) -> Option<kube::Result<(Option<ConfigMap>, Acknowledged)>> {
    let mut wanted = object(name, value);
    let stored = match present {
        None => answered(api.create(&PostParams::default(), &wanted)).await,
        Some(present) if deletes => {
            let (uid, resource_version) = (present.metadata.uid.clone(), present.metadata.resource_version.clone());
            let preconditions = Some(Preconditions { uid, resource_version });
            let deleted =
                answered(api.delete(name, &DeleteParams { preconditions, ..DeleteParams::default() })).await?;
            let uid = present.metadata.uid.unwrap_or_default();
            return Some(deleted.map(|_| (None, Acknowledged::Deleted(uid))));
        }
        Some(present) => {
            wanted.metadata.resource_version = present.metadata.resource_version;
            answered(api.replace(name, &PostParams::default(), &wanted)).await
        }
    };
    Some(stored?.map(|map| {
        let acknowledged = Acknowledged::Stored(name.to_owned(), Stored::of(&map));
        (Some(map), acknowledged)
    }))
}

/// Wants another number of replicas every few seconds, and in the end those that the test asks for; and deletes pods that
/// have to be made anew under the same name.
async fn disturb(deployments: Api<Deployment>, pods: Api<Pod>, mut dice: StdRng, tally: Tally) {
    let mut pace = tokio::time::interval(Duration::from_secs(3));
    loop {
        pace.tick().await;
        let last = tally.stopped();
        let replicas = if last { REPLICAS } else { dice.random_range(0..=5) };
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let scaled = answered(deployments.patch("web", &PatchParams::default(), &patch)).await;
        if last && matches!(scaled, Some(Ok(_))) {
            return;
        }
        let pod = format!("db-{}", dice.random_range(0..=1));
        // Whether that came through does not matter.
        drop(answered(pods.delete(&pod, &DeleteParams::default())).await);
    }
}

/// The revision of a write after all others.
async fn last_word(api: Api<ConfigMap>) -> u64 {
    loop {
        match answered(api.create(&PostParams::default(), &object("end", ""))).await {
            Some(Ok(map)) => return Stored::of(&map).revision,
            Some(Err(kube::Error::Api(status))) if status.code == 409 => {
                if let Some(Ok(map)) = answered(api.get("end")).await {
                    return Stored::of(&map).revision;
                }
            }
            _ => {}
        }
    }
}
