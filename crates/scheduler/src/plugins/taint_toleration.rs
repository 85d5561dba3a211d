//! Taints of nodes against tolerations of pods.

use k8s_openapi::api::core::v1::{Taint, Toleration};

use crate::framework::{Cycle, Filter, Rejection, Score, scale};
use crate::snapshot::NodeInfo;

pub(crate) struct TaintToleration;

/// Whether one of the tolerations covers the taint.
pub(crate) fn tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|toleration| covers(toleration, taint))
}

fn covers(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (effect, key) = (text(&toleration.effect), text(&toleration.key));
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    let (own, other) = (text(&toleration.value), taint.value.clone().unwrap_or_default());
    let numbers = || Some((own.parse::<i64>().ok()?, other.parse::<i64>().ok()?));
    match toleration.operator.as_deref() {
        None | Some("" | "Equal") => !key.is_empty() && own == other,
        Some("Exists") => true,
        Some("Gt") => numbers().is_some_and(|(own, other)| other > own),
        Some("Lt") => numbers().is_some_and(|(own, other)| other < own),
        Some(_) => false,
    }
}

impl Filter for TaintToleration {
    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Rejection> {
        let tolerations = cycle.pod.tolerations();
        match node.taint(&["NoSchedule", "NoExecute"], |taint| tolerated(taint, tolerations)) {
            None => Ok(()),
            Some(_) => Err(Rejection::unresolvable("node(s) had untolerated taint(s)")),
        }
    }
}

impl Score for TaintToleration {
    fn weight(&self) -> i64 {
        3
    }

    fn score(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> i64 {
        let soft = node.taints.iter().filter(|taint| taint.effect == "PreferNoSchedule");
        let tolerations = cycle.pod.tolerations();
        soft.filter(|taint| !tolerated(taint, tolerations)).count().try_into().unwrap_or(i64::MAX / 1000)
    }

    fn normalize(&self, scores: &mut [i64]) {
        scale(scores, true);
    }
}
