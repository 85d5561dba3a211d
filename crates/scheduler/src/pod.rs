//! What the scheduler keeps of a pod.

use std::collections::BTreeMap;

use api::selector::{LabelSelector, Requirement};
use client::{NodeTerm, ObjectKey};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    NodeSelector, ObjectReference, Pod, PodAffinityTerm, PodCondition, PodSpec, Toleration,
};

use crate::resources::{self, Resources};

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
    pub(crate) affinity: Vec<PodTerm>,
    pub(crate) preferred_pods: Vec<(i32, PodTerm)>,
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
    pub(crate) all_namespaces: bool,
    pub(crate) topology_key: String,
}

/// One topology spread constraint.
#[derive(Debug, Clone)]
pub(crate) struct SpreadConstraint {
    pub(crate) max_skew: i64,
    pub(crate) min_domains: usize,
    pub(crate) topology_key: String,
    pub(crate) hard: bool,
    pub(crate) selector: LabelSelector,
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

    /// Whether it matters to this pod where others are.
    pub(crate) fn looks_at_others(&self) -> bool {
        let wishes = self.wishes.as_ref();
        !self.anti_affinity.is_empty() || wishes.is_some_and(|w| !w.affinity.is_empty() || !w.spread.is_empty())
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
        let affinity = spec.affinity.clone().unwrap_or_default();
        let node = affinity.node_affinity.unwrap_or_default();
        let pods = affinity.pod_affinity.unwrap_or_default();
        let anti = affinity.pod_anti_affinity.unwrap_or_default();
        let term = |term: &PodAffinityTerm| PodTerm::of(term, labels, namespace);
        let near = pods.preferred_during_scheduling_ignored_during_execution.into_iter().flatten();
        let far = anti.preferred_during_scheduling_ignored_during_execution.into_iter().flatten();
        let preferred_pods = near.map(|w| (w.weight, term(&w.pod_affinity_term)));
        let avoided_pods = far.map(|w| (-w.weight, term(&w.pod_affinity_term)));
        let preferred = node.preferred_during_scheduling_ignored_during_execution.into_iter().flatten();
        Self {
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            required: node
                .required_during_scheduling_ignored_during_execution
                .map(|s: NodeSelector| s.node_selector_terms.iter().map(NodeTerm::of).collect()),
            preferred: preferred.map(|p| (p.weight, NodeTerm::of(&p.preference))).collect(),
            affinity: pods.required_during_scheduling_ignored_during_execution.iter().flatten().map(term).collect(),
            preferred_pods: preferred_pods.chain(avoided_pods).collect(),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            gates: spec.scheduling_gates.iter().flatten().map(|gate| gate.name.clone()).collect(),
            spread: spread(spec, labels),
            images: spec.containers.iter().filter_map(|c| c.image.clone()).collect(),
            preemption: spec.preemption_policy.as_deref() != Some("Never"),
            nominated_node: None,
            condition: None,
        }
    }
}

fn spread(spec: &PodSpec, labels: &BTreeMap<String, String>) -> Vec<SpreadConstraint> {
    let of = |c: &k8s_openapi::api::core::v1::TopologySpreadConstraint| {
        let mut selector = client::selector(c.label_selector.as_ref())?;
        selector.requirements.extend(same_labels(c.match_label_keys.as_deref(), labels));
        Some(SpreadConstraint {
            max_skew: c.max_skew.into(),
            min_domains: c.min_domains.and_then(|n| usize::try_from(n).ok()).unwrap_or(1),
            topology_key: c.topology_key.clone(),
            hard: c.when_unsatisfiable == "DoNotSchedule",
            selector,
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
        }
        let mut namespaces = term.namespaces.clone().unwrap_or_default();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.push(namespace.to_owned());
        }
        let all_namespaces = term.namespace_selector.is_some();
        Self { selector, namespaces, all_namespaces, topology_key: term.topology_key.clone() }
    }

    pub(crate) fn matches(&self, pod: &PodInfo) -> bool {
        let selected = self.selector.as_ref().is_some_and(|selector| selector.matches(&pod.labels));
        selected && (self.all_namespaces || self.namespaces.contains(&pod.key.namespace))
    }
}
