//! What a controller did and has not seen yet in its cache: until then the cache is no ground to act on.

use std::collections::{HashMap, HashSet};

use client::{Change, ObjectKey};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

use super::owner::owned_by;
use super::pods;

/// What is not seen by then never will be.
const EXPIRY: Duration = Duration::from_secs(300);

struct Expected {
    creations: usize,
    deletions: HashSet<String>,
    since: Instant,
}

/// Expectations by owner.
#[derive(Default)]
pub(crate) struct Expectations {
    owners: Mutex<HashMap<ObjectKey, Expected>>,
}

impl Expectations {
    /// So many creations and these deletions (by uid) are about to be asked for.
    pub(crate) fn expect(&self, owner: &ObjectKey, creations: usize, deletions: HashSet<String>) {
        let expected = Expected { creations, deletions, since: Instant::now() };
        self.owners.lock().insert(owner.clone(), expected);
    }

    /// A creation was seen, or did not happen.
    pub(crate) fn created(&self, owner: &ObjectKey) {
        if let Some(expected) = self.owners.lock().get_mut(owner) {
            expected.creations = expected.creations.saturating_sub(1);
        }
    }

    /// A deletion was seen, or did not happen.
    pub(crate) fn deleted(&self, owner: &ObjectKey, uid: &str) {
        if let Some(expected) = self.owners.lock().get_mut(owner) {
            expected.deletions.remove(uid);
        }
    }

    /// Whether all of it was seen, so that the cache can be trusted.
    pub(crate) fn satisfied(&self, owner: &ObjectKey) -> bool {
        let mut owners = self.owners.lock();
        let Some(expected) = owners.get(owner) else { return true };
        let seen = expected.creations == 0 && expected.deletions.is_empty();
        let done = seen || expected.since.elapsed() > EXPIRY;
        if done {
            owners.remove(owner);
        }
        done
    }

    /// Counts what a change of a pod shows to owners of this kind.
    pub(crate) fn observe(&self, kind: &str, change: &Change<Pod>) {
        let uid = |pod: &Pod| pod.metadata.uid.clone().unwrap_or_default();
        match change {
            Change::Applied { old, new, .. } => {
                let Some(owner) = owned_by(kind, &new.metadata) else { return };
                if old.is_none() {
                    self.created(&owner);
                }
                if pods::is_terminating(new) {
                    self.deleted(&owner, &uid(new));
                }
            }
            Change::Deleted { old, .. } => {
                if let Some(owner) = owned_by(kind, &old.metadata) {
                    self.deleted(&owner, &uid(old));
                }
            }
            Change::Resync => {}
        }
    }

    /// The owner is gone.
    pub(crate) fn forget(&self, owner: &ObjectKey) {
        self.owners.lock().remove(owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn satisfied_when_all_was_seen_or_it_is_too_late() {
        let (expectations, owner) = (Expectations::default(), ObjectKey::new("ns", "a"));
        assert!(expectations.satisfied(&owner));
        expectations.expect(&owner, 2, HashSet::from(["x".to_owned()]));
        expectations.created(&owner);
        expectations.deleted(&owner, "x");
        assert!(!expectations.satisfied(&owner));
        expectations.created(&owner);
        assert!(expectations.satisfied(&owner));
        expectations.expect(&owner, 1, HashSet::new());
        tokio::time::advance(EXPIRY + Duration::from_secs(1)).await;
        assert!(expectations.satisfied(&owner));
    }
}
