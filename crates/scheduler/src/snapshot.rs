//! The cluster as the scheduler sees it: nodes with what is on them, kept up to date change by change.

pub(crate) mod counts;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api::Quantity;
use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use api::selector::LabelSelector;

use crate::pod::{HostPort, ObjectName, PodInfo};
use crate::resources::Resources;
use crate::volumes::Volumes;
use counts::{Counts, Namespaces, Opinions};

/// One node and the sums over its pods.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeInfo {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) taints: Vec<Taint>,
    pub(crate) unschedulable: bool,
    pub(crate) allocatable: Resources,
    pub(crate) allowed_pods: usize,
    /// Image names with their size.
    pub(crate) images: HashMap<String, i64>,
    pub(crate) requested: Resources,
    pub(crate) counted: Resources,
    pub(crate) pods: HashMap<String, Arc<PodInfo>>,
    pub(crate) ports: HashMap<HostPort, u32>,
    /// Pods by the uid of their controller.
    pub(crate) owners: HashMap<String, u32>,
    /// The Node object is there; pods may be seen before it.
    pub(crate) known: bool,
}

impl Budget {
    pub(crate) fn of(budget: &PodDisruptionBudget) -> Self {
        let status = budget.status.clone().unwrap_or_default();
        Self {
            key: ObjectName::of(&budget.metadata),
            selector: client::selector(budget.spec.as_ref().and_then(|spec| spec.selector.as_ref())),
            allowed: status.disruptions_allowed.unwrap_or(0),
            disrupted: status.disrupted_pods.unwrap_or_default().into_keys().collect(),
        }
    }
}

impl NodeInfo {
    fn set(&mut self, node: &Node) {
        let spec = node.spec.clone().unwrap_or_default();
        let status = node.status.clone().unwrap_or_default();
        self.name = node.metadata.name.clone().unwrap_or_default();
        self.labels = node.metadata.labels.clone().unwrap_or_default();
        self.taints = spec.taints.unwrap_or_default();
        self.unschedulable = spec.unschedulable == Some(true);
        let amounts = status.allocatable.or(status.capacity);
        self.allocatable = Resources::parse(amounts.as_ref());
        let pods = amounts.as_ref().and_then(|a| a.get("pods")).and_then(|q| Quantity::parse(&q.0).ok());
        self.allowed_pods = pods.and_then(|q| usize::try_from(q.value()).ok()).unwrap_or(0);
        let images = status.images.into_iter().flatten();
        let named = images.flat_map(|image| {
            let size = image.size_bytes.unwrap_or(0);
            image.names.into_iter().flatten().map(move |name| (name, size))
        });
        self.images = named.collect();
        self.known = true;
    }

    pub(crate) fn add(&mut self, pod: Arc<PodInfo>) {
        self.requested.add(&pod.requests);
        self.counted.add(&pod.counted);
        for port in &pod.ports {
            *self.ports.entry(port.clone()).or_default() += 1;
        }
        if let Some(owner) = &pod.owner {
            *self.owners.entry(owner.clone()).or_default() += 1;
        }
        self.pods.insert(pod.uid.clone(), pod);
    }

    pub(crate) fn remove(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let pod = self.pods.remove(uid)?;
        self.requested.subtract(&pod.requests);
        self.counted.subtract(&pod.counted);
        for port in &pod.ports {
            release(&mut self.ports, port);
        }
        if let Some(owner) = &pod.owner {
            release(&mut self.owners, owner);
        }
        Some(pod)
    }

    pub(crate) fn taint(&self, effects: &[&str], tolerates: impl Fn(&Taint) -> bool) -> Option<&Taint> {
        self.taints.iter().find(|taint| effects.contains(&taint.effect.as_str()) && !tolerates(taint))
    }
}

fn release<K: std::hash::Hash + Eq + Clone>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// All nodes. Pods that were placed but not yet seen as placed (assumed) are in it like the others.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    nodes: BTreeMap<String, NodeInfo>,
    /// Where each pod is, by uid.
    places: HashMap<String, String>,
    pub(crate) counts: Counts,
    pub(crate) opinions: Opinions,
    pub(crate) namespaces: Namespaces,
    pub(crate) volumes: Volumes,
    pub(crate) budgets: Vec<Budget>,
    /// Pods for which room was made on a node, by uid.
    nominated: HashMap<String, (Arc<PodInfo>, String)>,
}

/// A PodDisruptionBudget.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    pub(crate) key: ObjectName,
    pub(crate) selector: Option<LabelSelector>,
    pub(crate) allowed: i32,
    /// Pods that count as gone already.
    pub(crate) disrupted: Vec<String>,
}

impl Snapshot {
    /// Nodes whose object is there.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values().filter(|node| node.known)
    }

    pub(crate) fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.nodes.get(name).filter(|node| node.known)
    }

    /// Sees to it that what the pod asks about others is counted.
    pub(crate) fn prepare(&mut self, pod: &PodInfo) {
        for (terms, staying) in pod.questions() {
            let nodes = self.nodes.iter();
            let placed = nodes.flat_map(|(name, node)| node.pods.values().map(move |pod| (&**pod, name.as_str())));
            self.counts.watch(&terms, staying, &self.namespaces, placed);
        }
    }

    /// Labels of a namespace; none: it is gone.
    pub(crate) fn set_namespace(&mut self, name: &str, labels: Option<BTreeMap<String, String>>) {
        let known = self.namespaces.get(name);
        if known == labels.as_ref() {
            return;
        }
        match labels {
            Some(labels) => self.namespaces.insert(name.to_owned(), labels),
            None => self.namespaces.remove(name),
        };
        self.counts.namespaces_changed();
    }

    pub(crate) fn nominate(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.nominated.insert(pod.uid.clone(), (pod, node.to_owned()));
    }

    pub(crate) fn forget_nomination(&mut self, uid: &str) {
        self.nominated.remove(uid);
    }

    /// Pods as important as this one that were promised room on the node.
    pub(crate) fn nominated<'a>(&'a self, node: &'a str, pod: &'a PodInfo) -> impl Iterator<Item = &'a Arc<PodInfo>> {
        let here = self.nominated.values().filter(move |(_, on)| on == node).map(|(other, _)| other);
        here.filter(move |other| other.uid != pod.uid && other.priority >= pod.priority)
    }

    pub(crate) fn set_node(&mut self, node: &Node) {
        let name = node.metadata.name.clone().unwrap_or_default();
        self.nodes.entry(name).or_default().set(node);
    }

    pub(crate) fn remove_node(&mut self, name: &str) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.known = false;
            if node.pods.is_empty() {
                self.nodes.remove(name);
            }
        }
    }

    /// The pod is on this node, and nowhere else.
    pub(crate) fn place(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.remove_pod(&pod.uid);
        self.nominated.remove(&pod.uid);
        self.places.insert(pod.uid.clone(), node.to_owned());
        self.counts.shift(&pod, node, 1, &self.namespaces);
        self.opinions.shift(&pod, node, 1);
        self.nodes.entry(node.to_owned()).or_default().add(pod);
    }

    /// The pod is nowhere; false when it was not anywhere.
    pub(crate) fn remove_pod(&mut self, uid: &str) -> bool {
        let Some(name) = self.places.remove(uid) else { return false };
        if let Some(node) = self.nodes.get_mut(&name) {
            if let Some(pod) = node.remove(uid) {
                self.counts.shift(&pod, &name, -1, &self.namespaces);
                self.opinions.shift(&pod, &name, -1);
            }
            if !node.known && node.pods.is_empty() {
                self.nodes.remove(&name);
            }
        }
        true
    }

    pub(crate) fn is_placed(&self, uid: &str) -> bool {
        self.places.contains_key(uid)
    }
}
