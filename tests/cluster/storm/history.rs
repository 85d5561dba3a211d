//! What watches have seen, and whether it is right.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use futures::{Stream, StreamExt, pin_mut};
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
pub(super) async fn follow(api: Api<ConfigMap>, mut last: tokio::sync::watch::Receiver<u64>) -> History {
    let mut history = History { epochs: Vec::new() };
    loop {
        let (from, start) = list(&api).await;
        let mut epoch = Epoch { from, start, changes: Vec::new() };
        let ended = epoch.follow(&api, &mut last).await;
        history.epochs.push(epoch);
        if ended {
            return history;
        }
    }
}

/// What comes next; nothing when the watch is to be looked after.
async fn next(
    stream: &mut (impl Stream<Item = kube::Result<WatchEvent<ConfigMap>>> + Unpin),
    last: &mut tokio::sync::watch::Receiver<u64>,
) -> Option<WatchEvent<ConfigMap>> {
    tokio::select! {
        event = tokio::time::timeout(SILENCE, stream.next()) => event.ok()??.ok(),
        // Perhaps that was seen already.
        _ = last.changed() => None,
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
    async fn follow(&mut self, api: &Api<ConfigMap>, last: &mut tokio::sync::watch::Receiver<u64>) -> bool {
        while self.to() < *last.borrow_and_update() {
            let params = WatchParams::default();
            let begun = tokio::time::timeout(SILENCE, api.watch(&params, &self.to().to_string())).await;
            match begun {
                Ok(Ok(stream)) => {
                    pin_mut!(stream);
                    while let Some(event) = next(&mut stream, last).await {
                        match event {
                            WatchEvent::Added(map) => self.push(Kind::Added, &map),
                            WatchEvent::Modified(map) => self.push(Kind::Modified, &map),
                            WatchEvent::Deleted(map) => self.push(Kind::Deleted, &map),
                            WatchEvent::Bookmark(_) => {}
                            WatchEvent::Error(status) if status.code == 410 => return false,
                            WatchEvent::Error(_) => break,
                        }
                    }
                }
                Ok(Err(kube::Error::Api(status))) if status.code == 410 => return false,
                _ => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
        true
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
            let follows = match (kind, &was) {
                (Kind::Added, was) => was.is_none(),
                (Kind::Modified | Kind::Deleted, was) => was.as_ref().is_some_and(|was| was.uid == now.uid),
            };
            assert!(follows, "{change:?} does not follow on {was:?}");
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
        let ends: Vec<_> = history.epochs.iter().map(Epoch::replayed).collect();
        assert_eq!(ends.last(), Some(left), "what a watch has told is what there is");
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

mod tests {
    use super::*;

    fn stored(revision: u64) -> Stored {
        Stored { revision, uid: "u".to_owned(), value: revision.to_string() }
    }

    /// Two watches on three changes of one object, all of them acknowledged.
    fn outcome() -> Outcome {
        let change = |(kind, revision)| Change { name: "a".to_owned(), kind, state: stored(revision) };
        let changes = [(Kind::Added, 3), (Kind::Modified, 5), (Kind::Modified, 6)].map(change).to_vec();
        let history = || History { epochs: vec![Epoch { from: 2, start: HashMap::new(), changes: changes.clone() }] };
        let left = HashMap::from([("a".to_owned(), stored(6))]);
        let acknowledged = [3, 5, 6].map(|revision| Acknowledged::Stored("a".to_owned(), stored(revision)));
        Outcome {
            acknowledged: acknowledged.into(),
            histories: vec![history(), history()],
            left: vec![left.clone(), left],
        }
    }

    /// Whether the check finds what is changed about it.
    fn is_found(spoil: impl FnOnce(&mut Outcome)) -> bool {
        let mut outcome = outcome();
        spoil(&mut outcome);
        std::panic::catch_unwind(|| check(&outcome)).is_err()
    }

    #[test]
    fn the_check_of_a_storm_finds_what_is_wrong() {
        assert!(!is_found(|_| {}));
        assert!(is_found(|o| drop(o.histories[0].epochs[0].changes.remove(1))), "a watch missed a change");
        assert!(is_found(|o| o.histories[0].epochs[0].changes.swap(1, 2)), "a watch was out of order");
        assert!(is_found(|o| o.acknowledged.push(Acknowledged::Stored("b".into(), stored(4)))), "a write is lost");
        assert!(is_found(|o| o.acknowledged.push(Acknowledged::Deleted("u".into()))), "what was deleted is there");
        assert!(is_found(|o| drop(o.left[1].remove("a"))), "a master has something else");
    }
}
