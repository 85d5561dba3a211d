//! Host ports that are taken.

use crate::framework::{Cycle, Filter, Rejection};
use crate::pod::HostPort;
use crate::snapshot::NodeInfo;

pub(crate) struct NodePorts;

const ANY: &str = "0.0.0.0";

fn conflict(a: &HostPort, b: &HostPort) -> bool {
    a.port == b.port && a.protocol == b.protocol && (a.ip == b.ip || a.ip == ANY || b.ip == ANY)
}

impl Filter for NodePorts {
    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Rejection> {
        let taken = |port: &HostPort| node.ports.keys().any(|other| conflict(port, other));
        if cycle.pod.ports.iter().any(taken) {
            return Err(Rejection::resolvable("node(s) didn't have free ports for the requested pod ports"));
        }
        Ok(())
    }
}
