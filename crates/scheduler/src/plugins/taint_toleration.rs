//! Taints of nodes against tolerations of pods.

use k8s_openapi::api::core::v1::{Taint, Toleration};

use crate::framework::{Cycle, Filter, Rejection, Score, scale};
use crate::snapshot::NodeInfo;

pub(crate) struct TaintToleration;

/// Whether one of the tolerations covers the taint.
pub(crate) fn tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|toleration| client::tolerates(toleration, taint))
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
    fn score(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> i64 {
        let soft = node.taints.iter().filter(|taint| taint.effect == "PreferNoSchedule");
        let tolerations = cycle.pod.tolerations();
        soft.filter(|taint| !tolerated(taint, tolerations)).count().try_into().unwrap_or(i64::MAX / 1000)
    }

    fn normalize(&self, scores: &mut [i64]) {
        scale(scores, true);
    }
}
