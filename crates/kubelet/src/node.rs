//! The Node object: registered, kept up to date, and its lease.

mod facts;
mod lease;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::{Change, HandlerGuard, Informer, write};
use cri::v1::{NetworkConfig, RuntimeConfig};
use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus, Taint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::context::Context;
use crate::localpath;
pub(crate) use facts::{Facts, memory_field, threshold};
pub(crate) use lease::run as keep_lease;

const WRITE: Duration = Duration::from_secs(10);

pub(crate) struct NodeKeeper {
    context: Arc<Context>,
    facts: Facts,
    changed: Arc<Notify>,
    news: Arc<Mutex<News>>,
    /// Resources that others say the node has.
    extended: Arc<Mutex<Extended>>,
}

type Extended = BTreeMap<String, Quantity>;

/// Of a node's capacity what the kubelet does not measure: it is believed, and to be had.
fn extended(node: &Node) -> Extended {
    let foreign = |name: &str| {
        let (domain, _) = name.split_once('/').unwrap_or_default();
        !domain.is_empty() && domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io")
    };
    let capacity = node.status.as_ref().and_then(|status| status.capacity.clone()).unwrap_or_default();
    capacity.into_iter().filter(|(name, _)| foreign(name)).collect()
}

/// What others did to the Node.
#[derive(Default)]
enum News {
    #[default]
    None,
    /// They say that nothing is heard of it, which is written here.
    Contradicted(Box<NodeStatus>),
    /// They deleted it.
    Gone,
}

impl News {
    fn of(change: &Change<Node>) -> Self {
        let unknown = |status: &NodeStatus| {
            let conditions = status.conditions.iter().flatten();
            conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "Unknown")
        };
        match change {
            Change::Applied { new, .. } => match new.status.clone().filter(unknown) {
                Some(status) => Self::Contradicted(Box::new(status)),
                None => Self::None,
            },
            Change::Deleted { .. } => Self::Gone,
            Change::Resync => Self::None,
        }
    }
}

impl NodeKeeper {
    pub(crate) fn new(context: Arc<Context>, facts: Facts) -> Self {
        Self { context, facts, changed: Arc::new(Notify::new()), news: Arc::default(), extended: Arc::default() }
    }

    /// Hands the node's address range to the engine as soon as it has one, and hears what others do to the Node.
    pub(crate) fn follow(&self, informer: &Informer<Node>) -> (HandlerGuard<Node>, impl Future<Output = ()> + use<>) {
        let (sender, mut ranges) = tokio::sync::watch::channel(None::<String>);
        let (news, heard) = (Arc::clone(&self.news), Arc::clone(&self.changed));
        let known = Arc::clone(&self.extended);
        let guard = informer.on_change(move |change| {
            let new = News::of(change);
            if !matches!(new, News::None) {
                *news.lock() = new;
                heard.notify_one();
            }
            if let Change::Applied { new, .. } = change {
                let extended = extended(new);
                let differs = *known.lock() != extended;
                if differs {
                    *known.lock() = extended;
                    heard.notify_one();
                }
                let range = pod_range(new);
                sender.send_if_modified(|known| {
                    let differs = range.is_some() && *known != range;
                    if differs {
                        known.clone_from(&range);
                    }
                    differs
                });
            }
        });
        let (context, changed) = (Arc::clone(&self.context), Arc::clone(&self.changed));
        let hand_over = async move {
            while ranges.changed().await.is_ok() {
                let Some(pod_cidr) = ranges.borrow_and_update().clone() else { continue };
                while !give_range(&context, &pod_cidr).await {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                changed.notify_one();
            }
        };
        (guard, hand_over)
    }

    /// Registers the node and keeps its status until cancelled by dropping.
    pub(crate) async fn run(self) {
        let mut told = self.register().await;
        let mut told_at = Instant::now();
        let every = self.context.config.node_status_update_frequency;
        let mut pressure = self.context.pressure.subscribe();
        let at_least = self.context.config.node_status_report_frequency;
        let mut failures = 0_u32;
        let mut first = true;
        loop {
            let news = std::mem::take(&mut *self.news.lock());
            match news {
                News::None => {}
                News::Contradicted(status) => told = *status,
                News::Gone => {
                    told = self.register().await;
                    first = true;
                }
            }
            let mut status = status::status(&self.context, &self.facts, &told).await;
            for amounts in [&mut status.capacity, &mut status.allocatable] {
                amounts.get_or_insert_default().extend(self.extended.lock().clone());
            }
            let due = first || told_at.elapsed() >= at_least || status::differs(&told, &status);
            if due {
                match self.tell(&told, &status).await {
                    Ok(()) => {
                        (told, told_at, failures, first) = (status, Instant::now(), 0, false);
                    }
                    Err(error) => {
                        failures = failures.saturating_add(1);
                        tracing::warn!(error, failures, "node status not written");
                        if failures > 2 {
                            // The Node may be gone.
                            told = self.register().await;
                        }
                    }
                }
            }
            let pause = if first || failures > 0 { Duration::from_millis(200) * failures.clamp(1, 25) } else { every };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.changed.notified() => {}
                Ok(()) = pressure.changed() => {}
            }
        }
    }

    /// Creates the Node, or takes over the one that is there. Tries until it is done.
    async fn register(&self) -> NodeStatus {
        let api: Api<Node> = Api::all(self.context.client.clone());
        let mut pause = Duration::from_millis(50);
        loop {
            match tokio::time::timeout(WRITE, self.register_once(&api)).await {
                Ok(Ok(node)) => {
                    // A node that had its range before is not told to be without a network.
                    if let Some(range) = pod_range(&node) {
                        give_range(&self.context, &range).await;
                    }
                    return node.status.unwrap_or_default();
                }
                Ok(Err(error)) => tracing::debug!(%error, "node not registered"),
                Err(_) => tracing::warn!("node not registered in time"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(7));
        }
    }

    async fn register_once(&self, api: &Api<Node>) -> kube::Result<Node> {
        let config = &self.context.config;
        let labels: BTreeMap<String, String> =
            self.facts.labels(&config.node_name).into_iter().chain(config.node_labels.clone()).collect();
        let mut annotations =
            BTreeMap::from([("volumes.kubernetes.io/controller-managed-attach-detach".to_owned(), "true".to_owned())]);
        if let Some(folder) = &config.local_path_dir {
            annotations.insert(localpath::FOLDER.to_owned(), folder.to_string_lossy().into_owned());
        }
        let taints = config.register_with_taints.iter().map(|(key, value, effect)| Taint {
            key: key.clone(),
            value: Some(value.clone()).filter(|value| !value.is_empty()),
            effect: effect.clone(),
            time_added: None,
        });
        let node = Node {
            metadata: ObjectMeta {
                name: Some(config.node_name.clone()),
                labels: Some(labels.clone()),
                annotations: Some(annotations.clone()),
                ..Default::default()
            },
            spec: Some(NodeSpec {
                taints: Some(taints.collect::<Vec<_>>()).filter(|taints| !taints.is_empty()),
                ..Default::default()
            }),
            status: Some(status::status(&self.context, &self.facts, &NodeStatus::default()).await),
        };
        match api.create(&PostParams::default(), &node).await {
            Err(error) if write::is_already_exists(&error) => {
                let own = json!({"metadata": {"labels": labels, "annotations": annotations}});
                api.patch(&config.node_name, &PatchParams::default(), &Patch::Merge(&own)).await
            }
            other => other,
        }
    }

    async fn tell(&self, told: &NodeStatus, status: &NodeStatus) -> Result<(), String> {
        let api: Api<Node> = Api::all(self.context.client.clone());
        let Some(patch) = patch(told, status) else { return Ok(()) };
        let (params, patch) = (PatchParams::default(), Patch::Strategic(&patch));
        let written = tokio::time::timeout(WRITE, api.patch_status(&self.context.config.node_name, &params, &patch));
        match written.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("timed out".to_owned()),
        }
    }
}

/// Hands the node's address range to the engine; whether it took it.
async fn give_range(context: &Context, pod_cidr: &str) -> bool {
    let config = RuntimeConfig { network_config: Some(NetworkConfig { pod_cidr: pod_cidr.to_owned() }) };
    let given = context.engine.update_runtime_config(config).await;
    if let Err(error) = &given {
        tracing::warn!(%error, pod_cidr, "engine does not take the pod address range");
    }
    given.is_ok()
}

fn pod_range(node: &Node) -> Option<String> {
    let spec = node.spec.as_ref()?;
    let all = spec.pod_cidrs.as_ref().filter(|all| !all.is_empty()).map(|all| all.join(","));
    all.or_else(|| spec.pod_cidr.clone()).filter(|range| !range.is_empty())
}

/// Fields that differ; conditions are merged by type, addresses are always all of them.
fn patch(told: &NodeStatus, status: &NodeStatus) -> Option<Value> {
    let (Ok(Value::Object(told)), Ok(Value::Object(new))) = (serde_json::to_value(told), serde_json::to_value(status))
    else {
        return None;
    };
    let mut changed = serde_json::Map::new();
    for (key, value) in new.into_iter().filter(|(key, value)| told.get(key) != Some(value)) {
        let value = match (key.as_str(), value) {
            ("addresses", Value::Array(list)) => {
                Value::Array(std::iter::once(json!({"$patch": "replace"})).chain(list).collect())
            }
            ("capacity" | "allocatable", Value::Object(mut amounts)) => {
                let before = told.get(&key).and_then(Value::as_object);
                for gone in before.into_iter().flat_map(|before| before.keys()) {
                    amounts.entry(gone.clone()).or_insert(Value::Null);
                }
                Value::Object(amounts)
            }
            (_, value) => value,
        };
        changed.insert(key, value);
    }
    (!changed.is_empty()).then(|| json!({"status": changed}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_the_node_has_is_believed_until_they_take_it_back() {
        let status = |more: Value| -> NodeStatus {
            let mut amounts = json!({"cpu": "2"});
            amounts.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value(json!({"capacity": amounts, "allocatable": amounts})).unwrap()
        };
        let more = json!({"example.com/dongle": "5", "node.kubernetes.io/x": "1"});
        let node = Node { status: Some(status(more)), ..Node::default() };
        assert_eq!(extended(&node), Extended::from([("example.com/dongle".to_owned(), Quantity("5".to_owned()))]));
        let with = json!({"example.com/dongle": "5"});
        let removed = patch(&status(with.clone()), &status(json!({}))).unwrap();
        assert_eq!(removed.pointer("/status/allocatable"), Some(&json!({"cpu": "2", "example.com/dongle": null})));
        assert_eq!(patch(&status(with.clone()), &status(with)), None);
    }
}
