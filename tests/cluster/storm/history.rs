//! What watches have seen, and whether it is right.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};

use super::load::Outcome;

/// A watch on which nothing comes for so long is begun anew where it was: a cut cable does not say so.
const SILENCE: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(100);

/// An object at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) revision: u64,
    uid: String,
    value: String,
}

impl Stored {
    pub(super) fn of(map: &ConfigMap) -> Self {
        let value = map.data.as_ref().and_then(|data| data.get("value")).cloned().unwrap_or_default();
        let revision = map.resource_version().and_then(|text| text.parse().ok()).unwrap();
        Self { revision, uid: map.uid().unwrap_or_default(), value }
    }
}

/// A write that was acknowledged: the object's name and state, or the uid of what was deleted.
#[derive(Debug)]
pub(super) enum Acknowledged {
    Stored(String, Stored),
    Deleted(String),
}

/// A change as a watch shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    name: String,
    kind: Kind,
    state: Stored,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Added,
    Modified,
    Deleted,
}

/// What was there at a revision, and every change from there on.
#[derive(Debug)]
pub(super) struct Epoch {
    from: u64,
    start: HashMap<String, Stored>,
    changes: Vec<Change>,
}

/// All that one watch has seen; a new epoch begins where the server had no history any more (410).
#[derive(Debug)]
pub(super) struct History {
    pub(super) epochs: Vec<Epoch>,
}

/// All objects, and the revision of that answer. Asks until there is one.
pub(super) async fn list(api: &Api<ConfigMap>) -> (u64, HashMap<String, Stored>) {
    loop {
        let listed = tokio::time::timeout(SILENCE, api.list(&ListParams::default())).await;
        if let Ok(Ok(list)) = listed {
            let revision = list.metadata.resource_version.and_then(|text| text.parse().ok()).unwrap();
            return (revision, list.items.iter().map(|map| (map.name_any(), Stored::of(map))).collect());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Watches until `last`, once that is known, has been seen.
pub(super) async fn follow(api: Api<ConfigMap>, last: tokio::sync::watch::Receiver<u64>) -> History {
    let mut history = History { epochs: Vec::new() };
    loop {
        let (from, start) = list(&api).await;
        let mut epoch = Epoch { from, start, changes: Vec::new() };
        let ended = epoch.follow(&api, &last).await;
        history.epochs.push(epoch);
        if ended {
            return history;
        }
    }
}

impl Epoch {
    fn to(&self) -> u64 {
        self.changes.last().map_or(self.from, |change| change.state.revision)
    }

    fn covers(&self, revision: u64) -> bool {
        self.from < revision && revision <= self.to()
    }

    /// True when all was seen, false when there is a gap.
    async fn follow(&mut self, api: &Api<ConfigMap>, last: &tokio::sync::watch::Receiver<u64>) -> bool {
        let mut revision = self.from;
        loop {
            let params = WatchParams::default();
            let begun = tokio::time::timeout(SILENCE, api.watch(&params, &revision.to_string())).await;
            match begun {
                Ok(Ok(stream)) => {
                    pin_mut!(stream);
                    while let Ok(Some(Ok(event))) = tokio::time::timeout(SILENCE, stream.next()).await {
                        match event {
                            WatchEvent::Added(map) => self.push(Kind::Added, &map),
                            WatchEvent::Modified(map) => self.push(Kind::Modified, &map),
                            WatchEvent::Deleted(map) => self.push(Kind::Deleted, &map),
                            WatchEvent::Bookmark(mark) => {
                                revision = mark.metadata.resource_version.parse().unwrap();
                                continue;
                            }
                            WatchEvent::Error(status) if status.code == 410 => return false,
                            WatchEvent::Error(_) => break,
                        }
                        revision = self.to();
                        if revision >= *last.borrow() {
                            return true;
                        }
                    }
                }
                Ok(Err(kube::Error::Api(status))) if status.code == 410 => return false,
                _ => {}
            }
            if self.from >= *last.borrow() {
                return true;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn push(&mut self, kind: Kind, map: &ConfigMap) {
        self.changes.push(Change { name: map.name_any(), kind, state: Stored::of(map) });
    }

    /// Every change follows on the one before it; what is there in the end.
    fn replayed(&self) -> HashMap<String, Stored> {
        let (mut state, mut before) = (self.start.clone(), self.from);
        for change in &self.changes {
            let Change { name, kind, state: now } = change;
            assert!(now.revision > before, "once, and in order: {change:?} after {before}");
            before = now.revision;
            let was = if *kind == Kind::Deleted { state.remove(name) } else { state.insert(name.clone(), now.clone()) };
            match (kind, &was) {
                (Kind::Added, None) => {}
                (Kind::Modified | Kind::Deleted, Some(was)) if was.uid == now.uid => {}
                _ => panic!("{change:?} does not follow on {was:?}"),
            }
        }
        state
    }
}

/// Nothing acknowledged is lost, and nobody saw anything else than the others.
pub(super) fn check(outcome: &Outcome) {
    let mut facts: BTreeMap<u64, &Change> = BTreeMap::new();
    let epochs: Vec<&Epoch> = outcome.histories.iter().flat_map(|history| &history.epochs).collect();
    for change in epochs.iter().flat_map(|epoch| &epoch.changes) {
        let known = facts.entry(change.state.revision).or_insert(change);
        assert_eq!(*known, change, "all see the same");
    }
    for epoch in &epochs {
        let seen: HashSet<u64> = epoch.changes.iter().map(|change| change.state.revision).collect();
        let missed: Vec<_> = facts.range(epoch.from + 1..=epoch.to()).filter(|(at, _)| !seen.contains(at)).collect();
        assert!(missed.is_empty(), "a watch missed {missed:?}");
    }
    let left = &outcome.left[0];
    for other in &outcome.left {
        assert_eq!(left, other, "all masters have the same");
    }
    for history in &outcome.histories {
        let end = history.epochs.iter().map(Epoch::replayed).next_back().unwrap();
        assert_eq!(&end, left, "what a watch has told is what there is");
    }
    for acknowledged in &outcome.acknowledged {
        match acknowledged {
            Acknowledged::Deleted(uid) => assert!(left.values().all(|there| there.uid != *uid), "{uid} was deleted"),
            Acknowledged::Stored(name, stored) => {
                let (revision, there) = (stored.revision, left.get(name));
                if epochs.iter().any(|epoch| epoch.covers(revision)) {
                    let fact = facts.get(&revision).map(|change| (&change.name, &change.state));
                    assert_eq!(fact, Some((name, stored)), "acknowledged at {revision}");
                }
                let superseded = facts.range(revision + 1..).any(|(_, change)| change.name == *name);
                assert!(superseded || there == Some(stored), "{name}: {stored:?} was acknowledged, {there:?} is there");
            }
        }
    }
}
