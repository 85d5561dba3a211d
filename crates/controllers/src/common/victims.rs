//! Which of several pods are the least useful. Pure.

use std::cmp::Reverse;
use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::pods;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

pub(crate) type Rank = (bool, u8, bool, i32, Reverse<usize>, (u32, Reverse<i32>, u32, String));

/// Whoever is lowest goes first: without node, not running, not ready, cheap, crowded, ready for a short time, often
/// restarted, young. `related` counts pods of the same owner by node. Times count by orders of magnitude, so that not all of the youngest go at once.
pub(crate) fn rank(pod: &Pod, related: &HashMap<String, usize>, now: Timestamp) -> Rank {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    let phase = match pods::phase(pod) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    };
    let cost = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(DELETION_COST)?.parse().ok());
    let crowd = related.get(node).copied().unwrap_or(0);
    let ready = magnitude(pods::ready_since(pod), now);
    let age = magnitude(pod.metadata.creation_timestamp.as_ref().map(|time| time.0), now);
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let last = (ready, Reverse(pods::restarts(pod)), age, uid);
    (!node.is_empty(), phase, pods::is_ready(pod), cost.unwrap_or(0), Reverse(crowd), last)
}

fn magnitude(since: Option<Timestamp>, now: Timestamp) -> u32 {
    let seconds = since.map_or(0, |since| now.as_second().saturating_sub(since.as_second()));
    u64::try_from(seconds).unwrap_or(0).checked_ilog2().map_or(0, |log| log + 1)
}
