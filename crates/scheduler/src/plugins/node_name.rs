//! `spec.nodeName`: whoever has it is placed already, so it matters only to those who ask `why`.

use crate::framework::{Cycle, Filter, Rejection};
use crate::snapshot::NodeInfo;

pub(crate) struct NodeName;

impl Filter for NodeName {
    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Rejection> {
        match &cycle.pod.node_name {
            Some(name) if *name != node.name => {
                Err(Rejection::unresolvable("node(s) didn't match the requested node name"))
            }
            _ => Ok(()),
        }
    }
}
