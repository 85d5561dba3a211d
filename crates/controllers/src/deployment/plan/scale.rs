//! Resizing a Deployment, if need be in the middle of an update.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use super::revision::is_saturated;
use super::sets::{Sets, maximum, replicas, room, set_replicas, wanted};

pub(super) fn scale(deployment: &Deployment, sets: &mut Sets) {
    let wanted = wanted(deployment);
    if sets.all().filter(|set| replicas(set) > 0).count() <= 1 {
        if let Some(only) = active_or_latest(sets)
            && (replicas(only) != wanted || super::sets::desired(only) != Some(wanted))
        {
            set_replicas(deployment, only, wanted);
        }
        return;
    }
    if sets.new.as_ref().is_some_and(|new| is_saturated(deployment, new)) {
        for set in sets.old.iter_mut().filter(|set| replicas(set) > 0) {
            set_replicas(deployment, set, 0);
        }
        return;
    }
    if !super::is_recreate(deployment) {
        proportionally(deployment, sets);
    }
}

fn active_or_latest(sets: &mut Sets) -> Option<&mut ReplicaSet> {
    if let Some(position) = sets.old.iter().position(|set| replicas(set) > 0) {
        return sets.old.get_mut(position);
    }
    sets.new.as_mut().or(sets.old.last_mut())
}

/// Each active set gets its share of what is added or taken away; what rounding leaves goes to the largest.
fn proportionally(deployment: &Deployment, sets: &mut Sets) {
    let most = if wanted(deployment) > 0 { wanted(deployment) + room(deployment).0 } else { 0 };
    let change = most - sets.total();
    let Sets { new, old } = sets;
    let mut active: Vec<_> = old.iter_mut().chain(new).filter(|set| replicas(set) > 0).collect();
    // The sets come from old to young; of equals the young ones grow first, the old ones shrink first.
    if change > 0 {
        active.reverse();
    }
    active.sort_by_key(|set| std::cmp::Reverse(replicas(set)));
    let mut added = 0;
    let mut sizes = Vec::new();
    for set in &active {
        let share = share(deployment, set, most, change, added);
        added += share;
        sizes.push(replicas(set) + share);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + change - added).max(0);
    }
    for (set, size) in active.into_iter().zip(sizes) {
        set_replicas(deployment, set, size);
    }
}

fn share(deployment: &Deployment, set: &ReplicaSet, most: i32, change: i32, added: i32) -> i32 {
    if change == 0 {
        return 0;
    }
    let reported = || deployment.status.as_ref().and_then(|status| status.replicas);
    let before = maximum(set).or_else(reported).filter(|before| *before > 0);
    let fraction = match before {
        _ if wanted(deployment) == 0 => -replicas(set),
        None => 0,
        Some(before) => (f64::from(replicas(set)) * f64::from(most) / f64::from(before)).round() as i32 - replicas(set),
    };
    let allowed = change - added;
    if change > 0 { fraction.min(allowed) } else { fraction.max(allowed) }
}
