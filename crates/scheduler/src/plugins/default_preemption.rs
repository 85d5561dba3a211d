//! Makes room for a more important pod: which pods of which node would have to go.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::framework::{Cycle, Diagnosis, counted, fits};
use crate::pod::PodInfo;
use crate::snapshot::{NodeInfo, Snapshot};

/// Where a pod could go, and whom it would cost.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) node: String,
    pub(crate) victims: Vec<Arc<PodInfo>>,
}

/// The cheapest way to make room, or why there is none.
pub(crate) fn preempt(pod: &PodInfo, snapshot: &Snapshot, diagnosis: &Diagnosis) -> Result<Candidate, String> {
    if pod.wishes.as_ref().is_none_or(|wishes| !wishes.preemption) {
        return Err("not eligible due to preemptionPolicy=Never.".into());
    }
    if waits_for_victims(pod, snapshot) {
        return Err("not eligible due to terminating pod on the nominated node.".into());
    }
    let resolvable = |node: &&NodeInfo| diagnosis.rejections.get(&node.name).is_some_and(|r| r.resolvable);
    let cycle = Cycle::new(pod, snapshot).ok();
    let candidates = snapshot.nodes().filter(resolvable).filter_map(|node| candidate(cycle.as_ref()?, node));
    candidates.min_by_key(cost).ok_or_else(|| {
        let reasons = diagnosis.rejections.values().map(|rejection| match rejection.resolvable {
            true => "No preemption victims found for incoming pod".to_owned(),
            false => "Preemption is not helpful for scheduling".to_owned(),
        });
        counted(diagnosis.rejections.len(), reasons)
    })
}

fn waits_for_victims(pod: &PodInfo, snapshot: &Snapshot) -> bool {
    let nominated = pod.wishes.as_ref().and_then(|wishes| wishes.nominated_node.as_deref());
    let node = nominated.and_then(|name| snapshot.node(name));
    node.is_some_and(|node| node.pods.values().any(|other| other.terminating && other.priority < pod.priority))
}

/// Takes all lesser pods off the node, then puts back as many as can stay, the most important first.
fn candidate(cycle: &Cycle<'_>, node: &NodeInfo) -> Option<Candidate> {
    let pod = cycle.pod;
    let mut room = node.clone();
    let mut lesser: Vec<_> = node.pods.values().filter(|other| other.priority < pod.priority).cloned().collect();
    if lesser.is_empty() {
        return None;
    }
    lesser.iter().for_each(|other| drop(room.remove(&other.uid)));
    fits(cycle, &room).ok()?;
    lesser.sort_by_key(|other| (Reverse(other.priority), other.started));
    let mut victims = Vec::new();
    for other in lesser {
        room.add(Arc::clone(&other));
        if fits(cycle, &room).is_err() {
            room.remove(&other.uid);
            victims.push(other);
        }
    }
    (!victims.is_empty()).then(|| Candidate { node: node.name.clone(), victims })
}

/// The least important first victim, then the least importance in all, then the fewest.
fn cost(candidate: &Candidate) -> (Option<i32>, i64, usize) {
    let priorities = || candidate.victims.iter().map(|victim| victim.priority);
    (priorities().max(), priorities().map(|p| i64::from(p) - i64::from(i32::MIN)).sum(), candidate.victims.len())
}
