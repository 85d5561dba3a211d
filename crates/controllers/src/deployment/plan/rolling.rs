//! A rolling update, one step of it: up by what may be surplus, down by what may be missing.

use k8s_openapi::api::apps::v1::Deployment;

use super::revision;
use super::sets::{Sets, available, replicas, room, set_replicas, wanted};
use super::status::Progress;

/// True when something was changed.
pub(super) fn roll(deployment: &Deployment, sets: &mut Sets, progress: &mut Progress<'_>) -> bool {
    let created = sets.new.is_none();
    revision::keep(deployment, sets, progress, true);
    created || resize_new(deployment, sets) || shrink_old(deployment, sets)
}

/// The size of the new set, which has `current` of the `total` replicas.
pub(super) fn size_of_new(deployment: &Deployment, total: i32, current: i32) -> i32 {
    let wanted = wanted(deployment);
    let most = wanted.saturating_add(room(deployment).0);
    if super::is_recreate(deployment) {
        return wanted;
    }
    current + (most - total).max(0).min((wanted - current).max(0))
}

fn resize_new(deployment: &Deployment, sets: &mut Sets) -> bool {
    let total = sets.total();
    let Some(new) = &mut sets.new else { return false };
    let (current, wanted) = (replicas(new), wanted(deployment));
    let size = if current > wanted { wanted } else { size_of_new(deployment, total, current) };
    if size == current {
        return false;
    }
    set_replicas(deployment, new, size);
    true
}

fn shrink_old(deployment: &Deployment, sets: &mut Sets) -> bool {
    if sets.old.iter().all(|set| replicas(set) == 0) {
        return false;
    }
    let least = wanted(deployment) - room(deployment).1;
    let unready = sets.new.as_ref().map_or(0, |new| replicas(new) - available(new));
    let allowed = sets.total() - least - unready;
    if allowed <= 0 {
        return false;
    }
    let unhealthy = take_unhealthy(deployment, sets, allowed);
    let spare: i32 = sets.all().map(available).sum::<i32>() - least;
    unhealthy | take_healthy(deployment, sets, spare)
}

/// Pods that do not work are taken away first: it costs nothing.
fn take_unhealthy(deployment: &Deployment, sets: &mut Sets, mut allowed: i32) -> bool {
    let mut changed = false;
    for set in &mut sets.old {
        let taken = allowed.min(replicas(set) - available(set));
        if taken > 0 {
            let size = replicas(set) - taken;
            set_replicas(deployment, set, size);
            allowed -= taken;
            changed = true;
        }
    }
    changed
}

fn take_healthy(deployment: &Deployment, sets: &mut Sets, mut spare: i32) -> bool {
    let mut changed = false;
    for set in &mut sets.old {
        let taken = spare.min(replicas(set));
        if taken > 0 {
            let size = replicas(set) - taken;
            set_replicas(deployment, set, size);
            spare -= taken;
            changed = true;
        }
    }
    changed
}
