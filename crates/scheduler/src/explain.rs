//! Why a pod is where it is not: the decision made again for people, over objects that somebody read. Pure.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Taint};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;

use crate::framework::{Diagnosis, schedule};
use crate::plugins::default_preemption::preempt;
use crate::plugins::taint_toleration::tolerated;
use crate::pod::PodInfo;
use crate::profile::Profile;
use crate::snapshot::{Budget, Snapshot};

/// What a scheduler knows.
#[derive(Debug, Default)]
pub struct World {
    /// All nodes.
    pub nodes: Vec<Node>,
    /// All pods.
    pub pods: Vec<Pod>,
    /// All claims.
    pub claims: Vec<PersistentVolumeClaim>,
    /// All volumes.
    pub volumes: Vec<PersistentVolume>,
    /// All classes.
    pub classes: Vec<StorageClass>,
    /// All namespaces.
    pub namespaces: Vec<Namespace>,
    /// All disruption budgets.
    pub budgets: Vec<PodDisruptionBudget>,
}

/// What one node says to the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The node.
    pub node: String,
    /// Why not; none: the pod could go there.
    pub reasons: Vec<String>,
    /// The plugin that said no.
    pub plugin: &'static str,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// As the scheduler writes it into the pod's condition; empty if it fits.
    pub message: String,
    /// Node by node.
    pub nodes: Vec<Verdict>,
    /// Where it would go, if anywhere.
    pub fits: Option<String>,
    /// Pods that would have to go, if that would help.
    pub victims: Vec<String>,
}

/// Decides about a pod as the scheduler would.
pub fn explain(pod: &Pod, world: World, profile: &Profile) -> Explanation {
    let mut snapshot = snapshot(world, pod.metadata.uid.as_deref());
    let pod = PodInfo::of(pod.clone());
    snapshot.prepare(&pod);
    match schedule(&pod, profile, &snapshot, 0) {
        Ok(placement) => {
            Explanation { message: String::new(), nodes: Vec::new(), fits: Some(placement.node), victims: Vec::new() }
        }
        Err(diagnosis) => rejected(&pod, profile, &snapshot, diagnosis),
    }
}

/// Places pods one after the other on what is there, as a scheduler would if nothing else happened; answers where each
/// went.
pub fn place(pods: Vec<Pod>, world: World, profile: &Profile) -> Vec<Option<String>> {
    let mut snapshot = snapshot(world, None);
    let mut places = Vec::with_capacity(pods.len());
    for (turn, pod) in (0_u64..).zip(pods) {
        let pod = Arc::new(PodInfo::of(pod));
        snapshot.prepare(&pod);
        let placed = schedule(&pod, profile, &snapshot, turn).ok().map(|placement| placement.node);
        if let Some(node) = &placed {
            snapshot.place(pod, node);
        }
        places.push(placed);
    }
    places
}

fn snapshot(world: World, besides: Option<&str>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    world.nodes.iter().for_each(|node| snapshot.set_node(node));
    for namespace in world.namespaces {
        let labels = namespace.metadata.labels.unwrap_or_default();
        snapshot.set_namespace(namespace.metadata.name.as_deref().unwrap_or_default(), Some(labels));
    }
    for pod in world.pods.into_iter().filter(|pod| pod.metadata.uid.as_deref() != besides) {
        let pod = PodInfo::of(pod);
        if let Some(node) = pod.node_name.clone().filter(|_| !pod.terminal) {
            snapshot.place(Arc::new(pod), &node);
        }
    }
    world.claims.into_iter().for_each(|claim| snapshot.volumes.set_claim(Arc::new(claim)));
    world.volumes.into_iter().for_each(|volume| snapshot.volumes.set_volume(Arc::new(volume)));
    world.classes.into_iter().for_each(|class| snapshot.volumes.set_class(Arc::new(class)));
    snapshot.budgets = world.budgets.iter().map(Budget::of).collect();
    snapshot
}

fn rejected(pod: &PodInfo, profile: &Profile, snapshot: &Snapshot, mut diagnosis: Diagnosis) -> Explanation {
    let mut victims = Vec::new();
    match preempt(pod, profile, snapshot, &diagnosis) {
        Ok(candidate) => victims.extend(candidate.victims.iter().map(|victim| victim.object_key().to_string())),
        Err(why) => diagnosis.preemption = why,
    }
    let nodes = diagnosis.rejections.iter().map(|(node, rejection)| Verdict {
        node: node.clone(),
        reasons: untolerated(pod, snapshot, node, rejection.plugin).unwrap_or_else(|| rejection.reasons.clone()),
        plugin: rejection.plugin,
    });
    Explanation { message: diagnosis.message(), nodes: nodes.collect(), fits: None, victims }
}

/// The message for all nodes leaves the taints out; who asks about one node wants to know them.
fn untolerated(pod: &PodInfo, snapshot: &Snapshot, node: &str, plugin: &str) -> Option<Vec<String>> {
    let taints = snapshot.node(node).filter(|_| plugin == "TaintToleration")?.taints.iter();
    let hard = taints.filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
    let against = hard.filter(|taint| !tolerated(taint, pod.tolerations()));
    let name = |taint: &Taint| match taint.value.as_deref().filter(|value| !value.is_empty()) {
        Some(value) => format!("taint {}={value}:{}", taint.key, taint.effect),
        None => format!("taint {}:{}", taint.key, taint.effect),
    };
    Some(against.map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn each_node_gives_its_reason() {
        let node = |name: &str, cpu: &str, spec: Value| -> Node {
            serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec,
                "status": {"allocatable": {"cpu": cpu, "memory": "1Gi", "pods": "10"}}}))
            .unwrap()
        };
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns", "uid": "1"},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "2"}}}]}}))
        .unwrap();
        let nodes = || vec![node("a", "1", json!({})), node("b", "4", json!({"unschedulable": true}))];
        let tainted = node("t", "4", json!({"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}));
        let world = World { nodes: vec![tainted], ..World::default() };
        assert_eq!(explain(&pod, world, &Profile::default()).nodes[0].reasons, ["taint k=v:NoSchedule"]);
        let world = World { nodes: nodes(), ..World::default() };
        let explanation = explain(&pod, world, &Profile::default());
        let said: Vec<_> = explanation.nodes.iter().map(|v| (v.node.as_str(), v.plugin)).collect();
        assert_eq!(said, [("a", "NodeResourcesFit"), ("b", "NodeUnschedulable")]);
        assert!(explanation.message.starts_with("0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were"));
        let mut more = nodes();
        more.push(node("c", "4", json!({})));
        let world = World { nodes: more, ..World::default() };
        assert_eq!(explain(&pod, world, &Profile::default()).fits.as_deref(), Some("c"));
    }
}
