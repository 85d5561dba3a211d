//! A work queue: each key is worked on by one worker at a time, and once more if it was added meanwhile.

mod state;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use state::{Next, State};

/// Distinct keys that wait at most.
const CAPACITY: usize = 1 << 20;
const FIRST_RETRY: Duration = Duration::from_millis(5);
const LAST_RETRY: Duration = Duration::from_secs(1000);

/// What a key must be able to do.
pub trait Key: Clone + Ord + Hash + Debug + Send + Sync + 'static {}
impl<T: Clone + Ord + Hash + Debug + Send + Sync + 'static> Key for T {}

/// A queue of keys; clones share it.
pub struct WorkQueue<K> {
    inner: Arc<Inner<K>>,
}

impl<K> Clone for WorkQueue<K> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

struct Inner<K> {
    state: Mutex<State<K>>,
    changed: Notify,
    closed: CancellationToken,
}

impl<K: Key> Default for WorkQueue<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Key> WorkQueue<K> {
    /// An empty queue.
    pub fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    /// An empty queue that holds at most so many different keys.
    pub fn with_capacity(capacity: usize) -> Self {
        let state = Mutex::new(State::new(capacity));
        Self { inner: Arc::new(Inner { state, changed: Notify::new(), closed: CancellationToken::new() }) }
    }

    /// Work on this key, now. A key that waits already waits once; one that is being worked on comes again after.
    pub fn add(&self, key: K) {
        if !self.inner.state.lock().add(key.clone()) {
            tracing::error!(?key, "work queue is full; key dropped until its next change");
        }
        self.inner.changed.notify_one();
    }

    /// Work on this key later (or earlier, if it is added otherwise meanwhile).
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        if !self.inner.state.lock().add_at(key.clone(), Instant::now() + delay) {
            tracing::error!(?key, "work queue is full; delayed key dropped until its next change");
        }
        self.inner.changed.notify_one();
    }

    /// Work on this key again after a failure: 5 ms, doubled each time up to 1000 s, until [`Self::forget`].
    pub fn add_rate_limited(&self, key: K) {
        let failures = self.inner.state.lock().fail(&key);
        let factor = 2_u32.saturating_pow(failures.min(30));
        self.add_after(key, FIRST_RETRY.saturating_mul(factor).min(LAST_RETRY));
    }

    /// The key succeeded: its next failure is its first.
    pub fn forget(&self, key: &K) {
        self.inner.state.lock().forget(key);
    }

    /// How often the key failed since it last succeeded.
    pub fn failures(&self, key: &K) -> u32 {
        self.inner.state.lock().failures(key)
    }

    /// How many keys wait to be worked on now.
    pub fn len(&self) -> usize {
        self.inner.state.lock().len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets every worker go once it is done with what it has.
    pub fn close(&self) {
        self.inner.closed.cancel();
    }

    /// The next key; waits for one. None once the queue is closed.
    pub async fn get(&self) -> Option<WorkItem<K>> {
        loop {
            if self.inner.closed.is_cancelled() {
                return None;
            }
            let next = self.inner.state.lock().next(Instant::now());
            match next {
                Next::Key(key, more) => {
                    if more {
                        self.inner.changed.notify_one();
                    }
                    return Some(WorkItem { key, queue: self.clone() });
                }
                Next::At(deadline) => tokio::select! {
                    () = self.inner.closed.cancelled() => return None,
                    () = self.inner.changed.notified() => {}
                    () = tokio::time::sleep_until(deadline) => {}
                },
                Next::Never => tokio::select! {
                    () = self.inner.closed.cancelled() => return None,
                    () = self.inner.changed.notified() => {}
                },
            }
        }
    }
}

/// A key being worked on; dropping it says that this is done.
pub struct WorkItem<K: Key> {
    key: K,
    queue: WorkQueue<K>,
}

impl<K: Key> Deref for WorkItem<K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.key
    }
}

impl<K: Key> Drop for WorkItem<K> {
    fn drop(&mut self) {
        if self.queue.inner.state.lock().done(&self.key) {
            self.queue.inner.changed.notify_one();
        }
    }
}
