//! `spec.unschedulable`, as `kubectl cordon` sets it.

use k8s_openapi::api::core::v1::Taint;

use super::taint_toleration::tolerated;
use crate::framework::{Cycle, Filter, Rejection};
use crate::snapshot::NodeInfo;

pub(crate) struct NodeUnschedulable;

impl Filter for NodeUnschedulable {
    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Rejection> {
        let taint =
            Taint { key: "node.kubernetes.io/unschedulable".into(), effect: "NoSchedule".into(), ..Taint::default() };
        if !node.unschedulable || tolerated(&taint, cycle.pod.tolerations()) {
            return Ok(());
        }
        Err(Rejection::unresolvable("node(s) were unschedulable"))
    }
}
