//! Makes room for a more important pod: which pods of which node would have to go.

use std::cmp::Reverse;
use std::sync::Arc;

use jiff::Timestamp;

use crate::framework::{Cycle, Diagnosis, counted, fits};
use crate::pod::PodInfo;
use crate::profile::Profile;
use crate::snapshot::{Budget, NodeInfo, Snapshot};

/// Where a pod could go, and whom it would cost.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) node: String,
    pub(crate) victims: Vec<Arc<PodInfo>>,
    /// Victims that a disruption budget protects.
    violations: usize,
}

/// The cheapest way to make room, or why there is none.
pub(crate) fn preempt(
    pod: &PodInfo,
    profile: &Profile,
    snapshot: &Snapshot,
    diagnosis: &Diagnosis,
) -> Result<Candidate, String> {
    if pod.wishes.as_ref().is_none_or(|wishes| !wishes.preemption) {
        return Err("not eligible due to preemptionPolicy=Never.".into());
    }
    if waits_for_victims(pod, snapshot) {
        return Err("not eligible due to terminating pod on the nominated node.".into());
    }
    let resolvable = |node: &&NodeInfo| diagnosis.rejections.get(&node.name).is_some_and(|r| r.resolvable);
    let cycle = Cycle::new(pod, profile, snapshot).ok();
    let candidates =
        snapshot.nodes().filter(resolvable).filter_map(|node| candidate(cycle.as_ref()?, node, &snapshot.budgets));
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

/// Takes all lesser pods off the node, then puts back as many as can stay: those first that a budget protects, then the
/// most important.
fn candidate(cycle: &Cycle<'_>, node: &NodeInfo, budgets: &[Budget]) -> Option<Candidate> {
    let pod = cycle.pod;
    let (mut cycle, mut room) = (cycle.clone(), node.clone());
    let mut lesser: Vec<_> = node.pods.values().filter(|other| other.priority < pod.priority).cloned().collect();
    if lesser.is_empty() {
        return None;
    }
    for other in &lesser {
        room.remove(&other.uid);
        cycle.shift(other, node, -1);
    }
    fits(&cycle, &room).ok()?;
    lesser.sort_by_key(|other| (Reverse(other.priority), other.started));
    let (guarded, free) = protected(lesser, budgets);
    let mut victims = Vec::new();
    let mut violations = 0;
    for (other, is_guarded) in guarded.into_iter().map(|pod| (pod, true)).chain(free.into_iter().map(|p| (p, false))) {
        room.add(Arc::clone(&other));
        cycle.shift(&other, node, 1);
        if fits(&cycle, &room).is_err() {
            room.remove(&other.uid);
            cycle.shift(&other, node, -1);
            violations += usize::from(is_guarded);
            victims.push(other);
        }
    }
    victims.sort_by_key(|victim| Reverse(victim.priority));
    (!victims.is_empty()).then(|| Candidate { node: node.name.clone(), victims, violations })
}

/// Sorts out the pods whose loss a budget does not allow any more.
fn protected(pods: Vec<Arc<PodInfo>>, budgets: &[Budget]) -> (Vec<Arc<PodInfo>>, Vec<Arc<PodInfo>>) {
    let mut left: Vec<i32> = budgets.iter().map(|budget| budget.allowed).collect();
    pods.into_iter().partition(|pod| {
        let mut violates = false;
        for (budget, left) in budgets.iter().zip(&mut left) {
            let selects = budget.selector.as_ref().is_some_and(|s| !s.is_empty() && s.matches(&pod.labels));
            let concerns = budget.key.namespace == pod.key.namespace && selects;
            if concerns && !pod.labels.is_empty() && !budget.disrupted.contains(&pod.key.name) {
                *left -= 1;
                violates |= *left < 0;
            }
        }
        violates
    })
}

/// The fewest broken budgets, the least important first victim, the least importance in all, the fewest, the youngest.
fn cost(candidate: &Candidate) -> (usize, Option<i32>, i64, usize, Reverse<Option<Timestamp>>) {
    let priorities = || candidate.victims.iter().map(|victim| victim.priority);
    let highest = priorities().max();
    let sum = priorities().map(|p| i64::from(p) - i64::from(i32::MIN)).sum();
    let important = candidate.victims.iter().filter(|victim| Some(victim.priority) == highest);
    let earliest = important.filter_map(|victim| victim.started).min();
    (candidate.violations, highest, sum, candidate.victims.len(), Reverse(earliest))
}
