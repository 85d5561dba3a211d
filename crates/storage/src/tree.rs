//! The readable side of the store: all live entries in a persistent ordered map, recent changes beside it, and
//! watchers that read those changes at their own pace.
//!
//! A watcher has no queue of its own: it holds a position in the shared history. One that falls behind further than
//! the history's byte budget is told so, and costs nobody else anything.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use imbl::OrdMap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::{Entry, Event, Key, ListOptions, Page, ReadError, Revision};

type Root = OrdMap<Key, Arc<Entry>>;

/// Changes of one group of keys.
struct Bucket {
    history: RwLock<History>,
    wake: watch::Sender<()>,
}

struct History {
    events: VecDeque<Event>,
    /// Changes up to here are no longer kept.
    floor: Revision,
}

/// Live entries and recent changes.
pub struct Tree {
    root: RwLock<Root>,
    current: AtomicU64,
    buckets: RwLock<HashMap<Box<str>, Arc<Bucket>>>,
    age: Mutex<Age>,
    budget: usize,
    /// No history reaches further back than this.
    origin: AtomicU64,
}

/// Order in which changes leave the history.
struct Age {
    order: VecDeque<Arc<Bucket>>,
    bytes: usize,
}

impl Tree {
    /// A tree of these entries at `current`, whose history starts there and keeps up to `budget` bytes.
    pub fn new(entries: impl IntoIterator<Item = Arc<Entry>>, current: Revision, budget: usize) -> Self {
        let root = entries.into_iter().map(|e| (e.key.clone(), e)).collect();
        Self {
            root: RwLock::new(root),
            current: AtomicU64::new(current.0),
            buckets: RwLock::default(),
            age: Mutex::new(Age { order: VecDeque::new(), bytes: 0 }),
            budget,
            origin: AtomicU64::new(current.0),
        }
    }

    /// Revision of the newest change.
    pub fn current(&self) -> Revision {
        Revision(self.current.load(Ordering::Acquire))
    }

    /// The entry of a key.
    pub fn get(&self, key: &str) -> Option<Arc<Entry>> {
        self.root.read().get(key).cloned()
    }

    /// Number of live entries and the bytes of their values.
    pub fn size(&self) -> (usize, usize) {
        let root = self.root.read().clone();
        (root.len(), root.values().map(|e| e.value.len()).sum())
    }

    /// All live entries with the revision they belong to; costs nothing to hold.
    pub(crate) fn snapshot(&self) -> (OrdMap<Key, Arc<Entry>>, Revision) {
        let root = self.root.read();
        (root.clone(), self.current())
    }

    /// A page of keys.
    pub fn list(&self, options: &ListOptions<'_>) -> Result<Page, ReadError> {
        let (mut root, current) = self.snapshot();
        let revision = options.at.unwrap_or(current);
        if revision > current {
            return Err(ReadError::Future { asked: revision, current });
        }
        if revision < current {
            self.rewind(&mut root, options.prefix, revision)?;
        }
        let start = match options.after {
            Some(after) => (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded),
            None => (std::ops::Bound::Included(options.prefix), std::ops::Bound::Unbounded),
        };
        let mut matching =
            root.range::<_, str>(start).take_while(|(key, _)| key.0.starts_with(options.prefix)).map(|(_, e)| e);
        let limit = if options.limit == 0 { usize::MAX } else { options.limit };
        let entries: Vec<Arc<Entry>> = matching.by_ref().take(limit).cloned().collect();
        let remaining = matching.count();
        Ok(Page { entries, revision, remaining })
    }

    /// Takes back the changes below `prefix` that came after `to`.
    fn rewind(&self, root: &mut Root, prefix: &str, to: Revision) -> Result<(), ReadError> {
        let bucket = self.bucket(Key::bucket(prefix));
        let history = bucket.history.read();
        if to < history.floor {
            return Err(ReadError::Compacted { asked: to, oldest: history.floor });
        }
        for event in history.events.iter().rev().take_while(|e| e.revision > to) {
            match (&event.before, event.key()) {
                (Some(before), _) => {
                    root.insert(before.key.clone(), before.clone());
                }
                (None, Some(key)) => {
                    root.remove(key);
                }
                (None, None) => {}
            }
        }
        Ok(())
    }

    /// Changes below `prefix` after `from`. `from` zero means from now on.
    pub fn watch(self: &Arc<Self>, prefix: &str, from: Revision) -> Result<Watch, ReadError> {
        let bucket = self.bucket(Key::bucket(prefix));
        let wake = bucket.wake.subscribe();
        let floor = bucket.history.read().floor;
        if from < floor {
            return Err(ReadError::Compacted { asked: from, oldest: floor });
        }
        Ok(Watch { tree: self.clone(), bucket, wake, prefix: prefix.into(), position: from })
    }

    /// Makes changes visible, in order. Called by one writer at a time.
    pub fn publish(&self, events: Vec<Event>) {
        let Some(last) = events.last().map(|e| e.revision) else { return };
        let mut touched: Vec<Arc<Bucket>> = Vec::new();
        {
            let mut root = self.root.write();
            for event in events {
                match (&event.now, event.key()) {
                    (Some(now), _) => {
                        root.insert(now.key.clone(), now.clone());
                    }
                    (None, Some(key)) => {
                        root.remove(key);
                    }
                    (None, None) => {}
                }
                let bucket = self.bucket(event.key().map(|k| Key::bucket(&k.0)).unwrap_or_default());
                self.remember(&bucket, event);
                if !touched.iter().any(|t| Arc::ptr_eq(t, &bucket)) {
                    touched.push(bucket);
                }
            }
            self.current.store(last.0, Ordering::Release);
        }
        for bucket in touched {
            bucket.wake.send_replace(());
        }
    }

    /// Becomes these entries at `current`, with no history before it: a watcher that has not seen everything up to
    /// `current` learns that it has missed something.
    pub fn reset(&self, entries: impl IntoIterator<Item = Arc<Entry>>, current: Revision) {
        let entries = entries.into_iter().map(|e| (e.key.clone(), e)).collect();
        let buckets: Vec<Arc<Bucket>> = {
            let mut root = self.root.write();
            let mut age = self.age.lock();
            *age = Age { order: VecDeque::new(), bytes: 0 };
            self.origin.store(current.0, Ordering::Release);
            let buckets: Vec<Arc<Bucket>> = self.buckets.read().values().cloned().collect();
            for bucket in &buckets {
                *bucket.history.write() = History { events: VecDeque::new(), floor: current };
            }
            *root = entries;
            self.current.store(current.0, Ordering::Release);
            buckets
        };
        for bucket in buckets {
            bucket.wake.send_replace(());
        }
    }

    fn remember(&self, bucket: &Arc<Bucket>, event: Event) {
        let mut age = self.age.lock();
        age.bytes += event.size();
        age.order.push_back(bucket.clone());
        bucket.history.write().events.push_back(event);
        while age.bytes > self.budget {
            let Some(oldest) = age.order.pop_front() else { break };
            let mut history = oldest.history.write();
            if let Some(gone) = history.events.pop_front() {
                age.bytes = age.bytes.saturating_sub(gone.size());
                history.floor = gone.revision;
            }
        }
    }

    fn bucket(&self, name: &str) -> Arc<Bucket> {
        if let Some(bucket) = self.buckets.read().get(name) {
            return bucket.clone();
        }
        let mut buckets = self.buckets.write();
        let make = || {
            let history = History { events: VecDeque::new(), floor: Revision(self.origin.load(Ordering::Acquire)) };
            Arc::new(Bucket { history: RwLock::new(history), wake: watch::Sender::new(()) })
        };
        buckets.entry(name.into()).or_insert_with(make).clone()
    }
}

/// A position in the history of the keys below a prefix.
pub struct Watch {
    tree: Arc<Tree>,
    bucket: Arc<Bucket>,
    wake: watch::Receiver<()>,
    prefix: Box<str>,
    position: Revision,
}

impl Watch {
    /// Most changes handed over at once.
    const BATCH: usize = 256;

    /// The next changes, at least one; waits for them. Cancel-safe.
    pub async fn next(&mut self) -> Result<Vec<Event>, ReadError> {
        loop {
            self.wake.borrow_and_update();
            let events = self.pending()?;
            if !events.is_empty() {
                return Ok(events);
            }
            if self.wake.changed().await.is_err() {
                return Err(ReadError::Unavailable("the store has stopped".into()));
            }
        }
    }

    /// Changes that are there already.
    pub fn pending(&mut self) -> Result<Vec<Event>, ReadError> {
        let current = self.tree.current();
        let history = self.bucket.history.read();
        if self.position < history.floor {
            return Err(ReadError::Compacted { asked: self.position, oldest: history.floor });
        }
        let start = history.events.partition_point(|e| e.revision <= self.position);
        let mut found = Vec::new();
        for event in history.events.iter().skip(start).take_while(|e| e.revision <= current) {
            if found.len() == Self::BATCH {
                return Ok(found);
            }
            self.position = event.revision;
            if event.key().is_some_and(|k| k.0.starts_with(&*self.prefix)) {
                found.push(event.clone());
            }
        }
        self.position = self.position.max(current);
        Ok(found)
    }

    /// Everything up to here has been handed over.
    pub fn position(&self) -> Revision {
        self.position
    }
}

#[cfg(test)]
mod tests;
