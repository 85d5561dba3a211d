//! Where pods may be: node affinity terms, taints and tolerations. The scheduler and several controllers ask.

use std::collections::BTreeMap;

use api::selector::{LabelSelector, Requirement};
use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, Taint, Toleration};

/// One term of node affinity: all of it must hold.
#[derive(Debug, Clone, Default)]
pub struct NodeTerm {
    labels: LabelSelector,
    fields: LabelSelector,
    /// It has an operator that does not exist, or nothing at all: it matches no node.
    void: bool,
}

impl NodeTerm {
    /// The term, ready to match.
    pub fn of(term: &NodeSelectorTerm) -> Self {
        let labels: Option<Vec<_>> = term.match_expressions.iter().flatten().map(requirement).collect();
        let fields: Option<Vec<_>> = term.match_fields.iter().flatten().map(requirement).collect();
        match (labels, fields) {
            (Some(labels), Some(fields)) if !(labels.is_empty() && fields.is_empty()) => Self {
                labels: LabelSelector { requirements: labels },
                fields: LabelSelector { requirements: fields },
                void: false,
            },
            _ => Self { void: true, ..Self::default() },
        }
    }

    /// Whether it holds for the node of this name with these labels.
    pub fn matches(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        let field = |key: &str| (key == "metadata.name").then_some(name);
        !self.void && self.labels.matches(labels) && self.fields.matches_by(field)
    }
}

fn requirement(wanted: &NodeSelectorRequirement) -> Option<Requirement> {
    let (key, values) = (wanted.key.clone(), wanted.values.clone().unwrap_or_default());
    let number = || values.first()?.parse().ok();
    Some(match wanted.operator.as_str() {
        "In" => Requirement::In(key, values),
        "NotIn" => Requirement::NotIn(key, values),
        "Exists" => Requirement::Exists(key),
        "DoesNotExist" => Requirement::Absent(key),
        "Gt" => Requirement::Greater(key, number()?),
        "Lt" => Requirement::Less(key, number()?),
        _ => return None,
    })
}

/// Whether the toleration covers the taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (effect, key) = (text(&toleration.effect), text(&toleration.key));
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    let (own, other) = (text(&toleration.value), text(&taint.value));
    let numbers = || Some((own.parse::<i64>().ok()?, other.parse::<i64>().ok()?));
    match toleration.operator.as_deref() {
        None | Some("" | "Equal") => !key.is_empty() && own == other,
        Some("Exists") => true,
        Some("Gt") => numbers().is_some_and(|(own, other)| other > own),
        Some("Lt") => numbers().is_some_and(|(own, other)| other < own),
        Some(_) => false,
    }
}
