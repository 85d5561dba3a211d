//! Pods that wait to be placed: active, backing off, or unschedulable until something changes. Pure.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::plugins::priority_sort::{Rank, rank};
use crate::plugins::scheduling_gates::gated;
use crate::plugins::{Event, helps};
use crate::pod::PodInfo;

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LAST_BACKOFF: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
enum Place {
    Active(Rank),
    Backoff(Instant, u64),
    /// Waits for an event; may be tried again from this time on.
    Unschedulable(Instant),
    Gated,
    /// Taken out, being placed; the number of events that had been seen then.
    InFlight(u64),
}

struct Waiting {
    pod: Arc<PodInfo>,
    place: Place,
    since: Instant,
    sequence: u64,
    attempts: u32,
    /// Who said no at the last attempt; none: it was no question of that.
    rejected_by: HashSet<&'static str>,
}

/// What to do next.
#[derive(Debug)]
pub(crate) enum Next {
    Pod(Arc<PodInfo>),
    At(Instant),
    Never,
}

#[derive(Default)]
pub(crate) struct Queue {
    pods: HashMap<String, Waiting>,
    active: BTreeMap<Rank, String>,
    backoff: BTreeMap<(Instant, u64), String>,
    sequence: u64,
    events: u64,
}

impl Queue {
    /// A pod that is to be placed, new or changed.
    pub(crate) fn set(&mut self, pod: Arc<PodInfo>, now: Instant) {
        let uid = pod.uid.clone();
        let Some(waiting) = self.pods.get_mut(&uid) else {
            self.sequence += 1;
            let (place, sequence) = (Place::Gated, self.sequence);
            let waiting = Waiting { pod, place, since: now, sequence, attempts: 0, rejected_by: HashSet::new() };
            self.pods.insert(uid.clone(), waiting);
            return self.activate(&uid);
        };
        let same = same_wishes(&waiting.pod, &pod);
        waiting.pod = pod;
        let retry = match waiting.place {
            Place::Gated => true,
            Place::Unschedulable(_) => !same,
            _ => false,
        };
        if retry {
            self.wake_one(&uid, now);
        }
    }

    /// The pod is placed or gone.
    pub(crate) fn remove(&mut self, uid: &str) {
        self.unlist(uid);
        self.pods.remove(uid);
    }

    /// The next pod to place; it is in flight until [`Self::failed`] or [`Self::remove`].
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        while let Some(slot) = self.backoff.first_entry() {
            if slot.key().0 > now {
                break;
            }
            let uid = slot.remove();
            self.activate(&uid);
        }
        while let Some((_, uid)) = self.active.pop_first() {
            if let Some(waiting) = self.pods.get_mut(&uid) {
                waiting.place = Place::InFlight(self.events);
                waiting.attempts = waiting.attempts.saturating_add(1);
                return Next::Pod(Arc::clone(&waiting.pod));
            }
        }
        self.backoff.first_key_value().map_or(Next::Never, |((at, _), _)| Next::At(*at))
    }

    /// The pod could not be placed: it waits for a change, or backs off if there was one meanwhile or it was no
    /// question of room (`retry`).
    pub(crate) fn failed(&mut self, uid: &str, rejected_by: HashSet<&'static str>, retry: bool, now: Instant) {
        let events = self.events;
        let Some(waiting) = self.pods.get_mut(uid) else { return };
        let Place::InFlight(seen) = waiting.place else { return };
        waiting.place = Place::Unschedulable(now + backoff(waiting.attempts));
        waiting.rejected_by = rejected_by;
        if retry || seen != events {
            self.wake_one(uid, now);
        }
    }

    /// Something changed that may let pods in: those are tried again, after their back-off, whom it may help.
    pub(crate) fn wake(&mut self, now: Instant, event: Event) {
        self.events += 1;
        let waiting = self.pods.iter().filter(|(_, waiting)| matches!(waiting.place, Place::Unschedulable(_)));
        let waiting = waiting.filter(|(_, waiting)| {
            waiting.rejected_by.is_empty() || waiting.rejected_by.iter().any(|plugin| helps(event, plugin))
        });
        let uids: Vec<_> = waiting.map(|(uid, _)| uid.clone()).collect();
        uids.iter().for_each(|uid| self.wake_one(uid, now));
    }

    /// The pod as it was last seen.
    pub(crate) fn get(&self, uid: &str) -> Option<Arc<PodInfo>> {
        self.pods.get(uid).map(|waiting| Arc::clone(&waiting.pod))
    }

    fn wake_one(&mut self, uid: &str, now: Instant) {
        let Some(waiting) = self.pods.get_mut(uid) else { return };
        match waiting.place {
            Place::Unschedulable(until) if until > now => {
                waiting.place = Place::Backoff(until, waiting.sequence);
                self.backoff.insert((until, waiting.sequence), uid.to_owned());
            }
            _ => self.activate(uid),
        }
    }

    fn activate(&mut self, uid: &str) {
        let Some(waiting) = self.pods.get_mut(uid) else { return };
        if gated(&waiting.pod) {
            waiting.place = Place::Gated;
            return;
        }
        let rank = rank(waiting.pod.priority, waiting.since, waiting.sequence);
        waiting.place = Place::Active(rank);
        self.active.insert(rank, uid.to_owned());
    }

    fn unlist(&mut self, uid: &str) {
        match self.pods.get(uid).map(|waiting| waiting.place) {
            Some(Place::Active(rank)) => drop(self.active.remove(&rank)),
            Some(Place::Backoff(at, sequence)) => drop(self.backoff.remove(&(at, sequence))),
            _ => {}
        }
    }
}

/// A change that cannot make a difference, as of the condition that the scheduler itself wrote.
fn same_wishes(old: &PodInfo, new: &PodInfo) -> bool {
    let text = |pod: &PodInfo| {
        let mut wishes = pod.wishes.clone().unwrap_or_default();
        (wishes.condition, wishes.nominated_node) = (None, None);
        format!("{wishes:?}")
    };
    old.labels == new.labels && old.requests == new.requests && text(old) == text(new)
}

fn backoff(attempts: u32) -> Duration {
    let factor = 2_u32.saturating_pow(attempts.saturating_sub(1).min(16));
    FIRST_BACKOFF.saturating_mul(factor).min(LAST_BACKOFF)
}
