//! The plugins, one a file, by upstream's names.

pub(crate) mod default_binder;
pub(crate) mod default_preemption;
mod image_locality;
pub(crate) mod inter_pod_affinity;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_resources_balanced_allocation;
mod node_resources_fit;
mod node_unschedulable;
mod node_volume_limits;
pub(crate) mod pod_topology_spread;
pub(crate) mod priority_sort;
pub(crate) mod scheduling_gates;
pub(crate) mod taint_toleration;
#[cfg(test)]
mod tests;
pub(crate) mod volume_binding;
pub(crate) mod volume_restrictions;
mod volume_zone;

pub(crate) use node_affinity::matches as node_affinity_matches;

use crate::framework::{Filter, Score};

/// In the order in which they are asked; the first that says no is the one that is named.
pub(crate) const FILTERS: &[(&str, &dyn Filter)] = &[
    ("NodeUnschedulable", &node_unschedulable::NodeUnschedulable),
    ("NodeName", &node_name::NodeName),
    ("TaintToleration", &taint_toleration::TaintToleration),
    ("NodeAffinity", &node_affinity::NodeAffinity),
    ("NodePorts", &node_ports::NodePorts),
    ("NodeResourcesFit", &node_resources_fit::NodeResourcesFit),
    ("VolumeRestrictions", &volume_restrictions::VolumeRestrictions),
    ("NodeVolumeLimits", &node_volume_limits::NodeVolumeLimits),
    ("VolumeBinding", &volume_binding::VolumeBinding),
    ("VolumeZone", &volume_zone::VolumeZone),
    ("PodTopologySpread", &pod_topology_spread::PodTopologySpread),
    ("InterPodAffinity", &inter_pod_affinity::InterPodAffinity),
];

/// With upstream's weights.
pub(crate) const SCORES: &[(&str, i64, &dyn Score)] = &[
    ("TaintToleration", 3, &taint_toleration::TaintToleration),
    ("NodeAffinity", 2, &node_affinity::NodeAffinity),
    ("NodeResourcesFit", 1, &node_resources_fit::NodeResourcesFit),
    ("NodeResourcesBalancedAllocation", 1, &node_resources_balanced_allocation::NodeResourcesBalancedAllocation),
    ("PodTopologySpread", 2, &pod_topology_spread::PodTopologySpread),
    ("InterPodAffinity", 2, &inter_pod_affinity::InterPodAffinity),
    ("ImageLocality", 1, &image_locality::ImageLocality),
];

/// Plugins at other points, and those of upstream that have nothing to do here.
const OTHERS: &[&str] = &["DefaultBinder", "DefaultPreemption", "DynamicResources", "PrioritySort", "SchedulingGates"];

pub(crate) fn is_known(name: &str) -> bool {
    FILTERS.iter().any(|(known, _)| *known == name)
        || SCORES.iter().any(|(known, ..)| *known == name)
        || OTHERS.contains(&name)
}

/// What changed, as far as it may let a pod in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    NodeAdded,
    /// What a node has: amounts, images.
    NodeRoom,
    NodeLabels,
    NodeTaints,
    /// A pod was placed, or its labels changed.
    PodPlaced,
    PodGone,
    /// Claims, volumes, classes.
    Storage,
}

/// Whether an event may change the mind of a plugin that said no.
pub(crate) fn helps(event: Event, plugin: &str) -> bool {
    match event {
        Event::NodeAdded => true,
        Event::NodeRoom => matches!(plugin, "NodeResourcesFit"),
        Event::NodeLabels => {
            matches!(plugin, "NodeAffinity" | "PodTopologySpread" | "InterPodAffinity" | "VolumeBinding" | "VolumeZone")
        }
        Event::NodeTaints => matches!(plugin, "TaintToleration" | "NodeUnschedulable" | "PodTopologySpread"),
        Event::PodPlaced => matches!(plugin, "InterPodAffinity" | "PodTopologySpread"),
        Event::PodGone => matches!(
            plugin,
            "NodeResourcesFit"
                | "NodePorts"
                | "InterPodAffinity"
                | "PodTopologySpread"
                | "VolumeRestrictions"
                | "NodeVolumeLimits"
        ),
        Event::Storage => {
            matches!(plugin, "VolumeBinding" | "VolumeRestrictions" | "VolumeZone" | "NodeVolumeLimits")
        }
    }
}
