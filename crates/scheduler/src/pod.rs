//! What the scheduler keeps of a pod.

use std::collections::BTreeMap;

use api::selector::{LabelSelector, Requirement};
use client::{NodeTerm, ObjectKey};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    NodeSelector, ObjectReference, Pod, PodAffinityTerm, PodCondition, PodSpec, Toleration,
};

use crate::resources::{self, Resources};
use crate::snapshot::counts::{Kind, Namespaces};

/// A pod as far as placing it, or placing others beside it, needs it.
#[derive(Debug, Clone, Default)]
pub(crate) struct PodInfo {
    pub(crate) key: ObjectName,
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) priority: i32,
    pub(crate) scheduler_name: String,
    pub(crate) node_name: Option<String>,
    pub(crate) terminating: bool,
    /// Succeeded or failed: it needs nothing any more.
    pub(crate) terminal: bool,
    pub(crate) started: Option<Timestamp>,
    pub(crate) requests: Resources,
    /// [`Self::requests`] with defaults where there are none.
    pub(crate) counted: Resources,
    pub(crate) ports: Vec<HostPort>,
    /// The uid of its controller.
    pub(crate) owner: Option<String>,
    pub(crate) anti_affinity: Vec<PodTerm>,
    /// Required affinity (weight none) and what is preferred: also those that are placed say it of others.
    pub(crate) attraction: Vec<(Option<i32>, PodTerm)>,
    pub(crate) claims: Vec<ClaimUse>,
    /// Only of pods that are still to be placed.
    pub(crate) wishes: Option<Box<Wishes>>,
}

/// A claim in the pod's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClaimUse {
    pub(crate) name: String,
    /// Made for this pod alone.
    pub(crate) own: bool,
}

/// Namespace and name, empty by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct ObjectName {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// A port of the node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct HostPort {
    pub(crate) protocol: String,
    pub(crate) ip: String,
    pub(crate) port: i32,
}

/// What only placing the pod itself needs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    pub(crate) node_selector: BTreeMap<String, String>,
    pub(crate) required: Option<Vec<NodeTerm>>,
    pub(crate) preferred: Vec<(i32, NodeTerm)>,
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) gates: Vec<String>,
    pub(crate) spread: Vec<SpreadConstraint>,
    pub(crate) images: Vec<String>,
    pub(crate) preemption: bool,
    pub(crate) nominated_node: Option<String>,
    /// The PodScheduled condition as it is.
    pub(crate) condition: Option<PodCondition>,
}

/// One term of pod affinity.
#[derive(Debug, Clone)]
pub(crate) struct PodTerm {
    pub(crate) selector: Option<LabelSelector>,
    pub(crate) namespaces: Vec<String>,
    /// Namespaces by their labels, beside those that are named.
    pub(crate) namespace_selector: Option<LabelSelector>,
    pub(crate) topology_key: String,
    /// Says which pods it selects; equal for terms that select the same.
    pub(crate) id: String,
}

/// One topology spread constraint.
#[derive(Debug, Clone)]
pub(crate) struct SpreadConstraint {
    pub(crate) max_skew: i64,
    pub(crate) min_domains: usize,
    pub(crate) topology_key: String,
    pub(crate) hard: bool,
    /// The pods that are counted.
    pub(crate) term: PodTerm,
    pub(crate) honor_affinity: bool,
    pub(crate) honor_taints: bool,
}

impl PodInfo {
    pub(crate) fn of(pod: Pod) -> Self {
        let claims = client::volumes::claims_of(&pod).into_iter().map(|(name, own)| ClaimUse { name, own }).collect();
        let meta = pod.metadata;
        let spec = pod.spec.unwrap_or_default();
        let status = pod.status.unwrap_or_default();
        let (requests, counted) = resources::of_pod(&spec);
        let labels = meta.labels.unwrap_or_default();
        let namespace = meta.namespace.unwrap_or_default();
        let owners = meta.owner_references.unwrap_or_default();
        let waiting = spec.node_name.as_deref().is_none_or(str::is_empty);
        let mut wishes = waiting.then(|| Box::new(Wishes::of(&spec, &labels, &namespace)));
        if let Some(wishes) = &mut wishes {
            wishes.nominated_node = status.nominated_node_name;
            wishes.condition = status.conditions.into_iter().flatten().find(|c| c.type_ == "PodScheduled");
        }
        let anti = spec.affinity.as_ref().and_then(|a| a.pod_anti_affinity.as_ref());
        let anti = anti.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
        Self {
            anti_affinity: anti.into_iter().flatten().map(|term| PodTerm::of(term, &labels, &namespace)).collect(),
            attraction: attraction(&spec, &labels, &namespace),
            key: ObjectName { namespace, name: meta.name.unwrap_or_default() },
            uid: meta.uid.unwrap_or_default(),
            resource_version: meta.resource_version.unwrap_or_default(),
            labels,
            priority: spec.priority.unwrap_or(0),
            terminating: meta.deletion_timestamp.is_some(),
            terminal: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            started: status.start_time.map(|time| time.0),
            ports: host_ports(&spec),
            owner: owners.into_iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid),
            scheduler_name: spec.scheduler_name.unwrap_or_else(|| "default-scheduler".into()),
            node_name: spec.node_name.filter(|name| !name.is_empty()),
            requests,
            counted,
            claims,
            wishes,
        }
    }

    pub(crate) fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            namespace: Some(self.key.namespace.clone()),
            name: Some(self.key.name.clone()),
            uid: Some(self.uid.clone()),
            resource_version: Some(self.resource_version.clone()),
            field_path: None,
        }
    }

    pub(crate) fn object_key(&self) -> ObjectKey {
        ObjectKey::new(&self.key.namespace, &self.key.name)
    }

    /// The terms of required affinity: one pod must match all of them.
    pub(crate) fn affinity(&self) -> Vec<PodTerm> {
        let required = self.attraction.iter().filter(|(weight, _)| weight.is_none());
        required.map(|(_, term)| term.clone()).collect()
    }

    /// What is preferred, with its weight.
    pub(crate) fn preferred(&self) -> impl Iterator<Item = (i32, &PodTerm)> {
        self.attraction.iter().filter_map(|(weight, term)| Some((weight.as_ref().copied()?, term)))
    }

    /// What it says about others beside it.
    pub(crate) fn opinions(&self) -> impl Iterator<Item = (Kind, &PodTerm)> {
        let repels = self.anti_affinity.iter().map(|term| (Kind::Repels, term));
        repels.chain(self.attraction.iter().map(|(weight, term)| (weight.map_or(Kind::Needs, Kind::Likes), term)))
    }

    /// Which pods have to be counted to place this one, and whether only those that stay.
    pub(crate) fn questions(&self) -> Vec<(Vec<PodTerm>, bool)> {
        let mut questions = Vec::new();
        let affinity = self.affinity();
        if !affinity.is_empty() {
            questions.push((affinity, false));
        }
        let single = self.anti_affinity.iter().chain(self.preferred().map(|(_, term)| term));
        questions.extend(single.map(|term| (vec![term.clone()], false)));
        let spread = self.wishes.iter().flat_map(|wishes| &wishes.spread);
        questions.extend(spread.map(|constraint| (vec![constraint.term.clone()], true)));
        questions
    }

    pub(crate) fn tolerations(&self) -> &[Toleration] {
        self.wishes.as_ref().map_or(&[], |wishes| &wishes.tolerations)
    }
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let host = ports.filter_map(|port| {
        let number = port.host_port.filter(|number| *number > 0)?;
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
        let ip = port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".into());
        Some(HostPort { protocol, ip, port: number })
    });
    host.collect()
}

impl Wishes {
    fn of(spec: &PodSpec, labels: &BTreeMap<String, String>, namespace: &str) -> Self {
        let node = spec.affinity.as_ref().and_then(|a| a.node_affinity.clone()).unwrap_or_default();
        let preferred = node.preferred_during_scheduling_ignored_during_execution.into_iter().flatten();
        Self {
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            required: node
                .required_during_scheduling_ignored_during_execution
                .map(|s: NodeSelector| s.node_selector_terms.iter().map(NodeTerm::of).collect()),
            preferred: preferred.map(|p| (p.weight, NodeTerm::of(&p.preference))).collect(),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            gates: spec.scheduling_gates.iter().flatten().map(|gate| gate.name.clone()).collect(),
            spread: spread(spec, labels, namespace),
            images: spec.containers.iter().filter_map(|c| c.image.clone()).collect(),
            preemption: spec.preemption_policy.as_deref() != Some("Never"),
            nominated_node: None,
            condition: None,
        }
    }
}

fn attraction(spec: &PodSpec, labels: &BTreeMap<String, String>, namespace: &str) -> Vec<(Option<i32>, PodTerm)> {
    let Some(affinity) = &spec.affinity else { return Vec::new() };
    let (near, far) = (affinity.pod_affinity.as_ref(), affinity.pod_anti_affinity.as_ref());
    let term = |term: &PodAffinityTerm| PodTerm::of(term, labels, namespace);
    let required = near.and_then(|n| n.required_during_scheduling_ignored_during_execution.as_ref());
    let required = required.into_iter().flatten().map(|t| (None, term(t)));
    let liked = near.and_then(|n| n.preferred_during_scheduling_ignored_during_execution.as_ref());
    let liked = liked.into_iter().flatten().map(|w| (Some(w.weight), term(&w.pod_affinity_term)));
    let disliked = far.and_then(|f| f.preferred_during_scheduling_ignored_during_execution.as_ref());
    let disliked = disliked.into_iter().flatten().map(|w| (Some(-w.weight), term(&w.pod_affinity_term)));
    required.chain(liked).chain(disliked).collect()
}

fn spread(spec: &PodSpec, labels: &BTreeMap<String, String>, namespace: &str) -> Vec<SpreadConstraint> {
    let of = |c: &k8s_openapi::api::core::v1::TopologySpreadConstraint| {
        let mut selector = client::selector(c.label_selector.as_ref())?;
        selector.requirements.extend(same_labels(c.match_label_keys.as_deref(), labels));
        Some(SpreadConstraint {
            max_skew: c.max_skew.into(),
            min_domains: c.min_domains.and_then(|n| usize::try_from(n).ok()).unwrap_or(1),
            topology_key: c.topology_key.clone(),
            hard: c.when_unsatisfiable == "DoNotSchedule",
            term: PodTerm::new(Some(selector), vec![namespace.to_owned()], None, &c.topology_key),
            honor_affinity: c.node_affinity_policy.as_deref() != Some("Ignore"),
            honor_taints: c.node_taints_policy.as_deref() == Some("Honor"),
        })
    };
    spec.topology_spread_constraints.iter().flatten().filter_map(of).collect()
}

fn same_labels(keys: Option<&[String]>, labels: &BTreeMap<String, String>) -> Vec<Requirement> {
    let present = keys.into_iter().flatten().filter_map(|key| Some((key, labels.get(key)?)));
    present.map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()])).collect()
}

impl PodTerm {
    fn of(term: &PodAffinityTerm, labels: &BTreeMap<String, String>, namespace: &str) -> Self {
        let mut selector = client::selector(term.label_selector.as_ref());
        if let Some(selector) = &mut selector {
            selector.requirements.extend(same_labels(term.match_label_keys.as_deref(), labels));
            let differs = same_labels(term.mismatch_label_keys.as_deref(), labels).into_iter();
            selector.requirements.extend(differs.filter_map(|requirement| match requirement {
                Requirement::In(key, values) => Some(Requirement::NotIn(key, values)),
                _ => None,
            }));
        }
        let mut namespaces = term.namespaces.clone().unwrap_or_default();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.push(namespace.to_owned());
        }
        let namespace_selector = client::selector(term.namespace_selector.as_ref());
        Self::new(selector, namespaces, namespace_selector, &term.topology_key)
    }

    fn new(
        selector: Option<LabelSelector>,
        namespaces: Vec<String>,
        namespace_selector: Option<LabelSelector>,
        topology_key: &str,
    ) -> Self {
        let id = format!("{selector:?} {namespaces:?} {namespace_selector:?}");
        Self { selector, namespaces, namespace_selector, topology_key: topology_key.to_owned(), id }
    }

    pub(crate) fn matches(&self, pod: &PodInfo, namespaces: &Namespaces) -> bool {
        let selected = self.selector.as_ref().is_some_and(|selector| selector.matches(&pod.labels));
        selected && (self.namespaces.contains(&pod.key.namespace) || self.in_selected(pod, namespaces))
    }

    fn in_selected(&self, pod: &PodInfo, namespaces: &Namespaces) -> bool {
        let Some(selector) = &self.namespace_selector else { return false };
        let labels = namespaces.get(&pod.key.namespace);
        labels.map_or_else(|| selector.matches_by(|_| None), |labels| selector.matches(labels))
    }
}
