//! What a work queue knows; no waiting in here.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use tokio::time::Instant;

use super::Key;

pub(super) struct State<K> {
    ready: VecDeque<K>,
    /// In `ready`, or added while being worked on.
    dirty: HashSet<K>,
    working: HashSet<K>,
    delayed: BTreeMap<(Instant, u64), K>,
    delayed_at: HashMap<K, (Instant, u64)>,
    failures: HashMap<K, u32>,
    sequence: u64,
    capacity: usize,
}

pub(super) enum Next<K> {
    /// A key, and whether more are ready.
    Key(K, bool),
    At(Instant),
    Never,
}

impl<K: Key> State<K> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            working: HashSet::new(),
            delayed: BTreeMap::new(),
            delayed_at: HashMap::new(),
            failures: HashMap::new(),
            sequence: 0,
            capacity,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn add(&mut self, key: K) -> bool {
        if self.dirty.contains(&key) {
            return true;
        }
        if self.dirty.len() >= self.capacity {
            return false;
        }
        self.dirty.insert(key.clone());
        if !self.working.contains(&key) {
            self.ready.push_back(key);
        }
        true
    }

    pub(super) fn add_at(&mut self, key: K, at: Instant) -> bool {
        match self.delayed_at.get(&key) {
            Some((earlier, _)) if *earlier <= at => return true,
            Some(slot) => {
                self.delayed.remove(slot);
            }
            None if self.delayed.len() >= self.capacity => return false,
            None => {}
        }
        self.sequence += 1;
        self.delayed.insert((at, self.sequence), key.clone());
        self.delayed_at.insert(key, (at, self.sequence));
        true
    }

    pub(super) fn next(&mut self, now: Instant) -> Next<K> {
        while let Some(slot) = self.delayed.first_entry() {
            if slot.key().0 > now {
                break;
            }
            let key = slot.remove();
            self.delayed_at.remove(&key);
            if !self.add(key.clone()) {
                tracing::error!(?key, "work queue is full; delayed key dropped until its next change");
            }
        }
        if let Some(key) = self.ready.pop_front() {
            self.dirty.remove(&key);
            self.working.insert(key.clone());
            return Next::Key(key, !self.ready.is_empty() || !self.delayed.is_empty());
        }
        self.delayed.first_key_value().map_or(Next::Never, |((at, _), _)| Next::At(*at))
    }

    /// True when the key has to be worked on again.
    pub(super) fn done(&mut self, key: &K) -> bool {
        self.working.remove(key);
        let again = self.dirty.contains(key);
        if again {
            self.ready.push_back(key.clone());
        }
        again
    }

    /// Counts a failure; answers how many there were before.
    pub(super) fn fail(&mut self, key: &K) -> u32 {
        let failures = self.failures.entry(key.clone()).or_insert(0);
        let before = *failures;
        *failures = before.saturating_add(1);
        before
    }

    pub(super) fn failures(&self, key: &K) -> u32 {
        self.failures.get(key).copied().unwrap_or(0)
    }

    pub(super) fn forget(&mut self, key: &K) {
        self.failures.remove(key);
    }
}
