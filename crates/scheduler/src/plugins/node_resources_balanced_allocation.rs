//! Nodes whose CPU and memory would be used alike are better.

use crate::framework::{Cycle, Score};
use crate::snapshot::NodeInfo;

pub(crate) struct NodeResourcesBalancedAllocation;

impl Score for NodeResourcesBalancedAllocation {
    fn score(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> i64 {
        let (wanted, has, used) = (&cycle.pod.requests, &node.allocatable, &node.requested);
        let share = |has: i64, used: i64| if has <= 0 { 1.0 } else { (used as f64 / has as f64).min(1.0) };
        let cpu = share(has.milli_cpu, used.milli_cpu + wanted.milli_cpu);
        let memory = share(has.memory, used.memory + wanted.memory);
        // The standard deviation of two is half of their distance.
        ((1.0 - (cpu - memory).abs() / 2.0) * 100.0) as i64
    }
}
