//! The contract of a reconciler, and what runs one.
//!
//! A reconciler is level-triggered: it gets a key, looks at what should be and at what is, and does what is missing.
//! It must be idempotent; when and how often it is called again is decided here.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::informer::{Change, HandlerGuard, Informer};
use crate::queue::{Key, WorkQueue};

/// What is to come for a key after a successful call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing until something changes.
    Done,
    /// Another call after this time, even if nothing changes.
    RequeueAfter(Duration),
}

/// Brings one object to what it should be.
pub trait Reconciler: Send + Sync + 'static {
    /// What names the object.
    type Key: Key;
    /// What can go wrong; it is logged, and the key is tried again with back-off.
    type Error: Display + Send;

    /// Name in logs.
    fn name(&self) -> &'static str;

    /// One attempt. `async fn` does for it.
    fn reconcile(&self, key: &Self::Key) -> impl Future<Output = Result<Outcome, Self::Error>> + Send;
}

/// The latest failure of a key.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What went wrong.
    pub message: String,
    /// When.
    pub at: Timestamp,
    /// How many times in a row.
    pub count: u32,
}

/// One attempt takes at most this long.
const ATTEMPT: Duration = Duration::from_secs(300);
/// Failures remembered at most.
const FAILURES: usize = 10_000;

/// Workers over one queue and one reconciler.
pub struct Runner<R: Reconciler> {
    reconciler: Arc<R>,
    queue: WorkQueue<R::Key>,
    workers: usize,
    failures: Arc<Mutex<HashMap<R::Key, Failure>>>,
    sources: Vec<Box<dyn std::any::Any + Send + Sync>>,
}

impl<R: Reconciler> Runner<R> {
    /// A runner with so many workers; nothing runs yet.
    pub fn new(reconciler: Arc<R>, workers: usize) -> Self {
        Self::with_queue(reconciler, workers, WorkQueue::new())
    }

    /// A runner of a queue that others, such as the reconciler itself, know already.
    pub fn with_queue(reconciler: Arc<R>, workers: usize, queue: WorkQueue<R::Key>) -> Self {
        let failures = Arc::new(Mutex::new(HashMap::new()));
        Self { reconciler, queue, workers: workers.max(1), failures, sources: Vec::new() }
    }

    /// The queue, for keys that come from elsewhere.
    pub fn queue(&self) -> WorkQueue<R::Key> {
        self.queue.clone()
    }

    /// Failing keys with their latest failure; of a key that is not in it the last attempt went well.
    pub fn failures(&self) -> Arc<Mutex<HashMap<R::Key, Failure>>> {
        Arc::clone(&self.failures)
    }

    /// Every change of an object queues the keys that `keys` gives for it, before and after the change.
    #[must_use]
    pub fn watch<P, I>(mut self, informer: &Informer<P>, keys: impl Fn(&P) -> I + Send + Sync + 'static) -> Self
    where
        P: Send + Sync + 'static,
        I: IntoIterator<Item = R::Key>,
    {
        let queue = self.queue();
        let guard: HandlerGuard<P> = informer.on_change(move |change| {
            let (old, new) = match change {
                Change::Applied { old, new, .. } => (old.as_ref(), Some(new)),
                Change::Deleted { old, .. } => (Some(old), None),
                Change::Resync => (None, None),
            };
            for object in old.into_iter().chain(new) {
                for key in keys(object) {
                    queue.add(key);
                }
            }
        });
        self.sources.push(Box::new((guard, informer.clone())));
        self
    }

    /// Works until `shutdown`; attempts under way are finished (bounded by their own time limit).
    pub async fn run(self, shutdown: CancellationToken) {
        let mut workers = JoinSet::new();
        for _ in 0..self.workers {
            workers.spawn(work(Arc::clone(&self.reconciler), self.queue.clone(), Arc::clone(&self.failures)));
        }
        shutdown.cancelled().await;
        self.queue.close();
        while let Some(ended) = workers.join_next().await {
            if let Err(error) = ended {
                tracing::error!(reconciler = self.reconciler.name(), %error, "worker ended abnormally");
            }
        }
    }
}

async fn work<R: Reconciler>(
    reconciler: Arc<R>,
    queue: WorkQueue<R::Key>,
    failures: Arc<Mutex<HashMap<R::Key, Failure>>>,
) {
    while let Some(item) = queue.get().await {
        match attempt(&*reconciler, &item).await {
            Ok(outcome) => {
                queue.forget(&item);
                failures.lock().remove(&*item);
                if let Outcome::RequeueAfter(delay) = outcome {
                    queue.add_after(item.clone(), delay);
                }
            }
            Err(message) => {
                queue.add_rate_limited(item.clone());
                let count = queue.failures(&item);
                // The first is mostly somebody else's write in between: daily business.
                if count < 2 {
                    tracing::debug!(reconciler = reconciler.name(), key = ?*item, message, "reconcile failed");
                } else {
                    tracing::warn!(reconciler = reconciler.name(), key = ?*item, count, message, "reconcile failed");
                }
                let mut failures = failures.lock();
                if failures.len() < FAILURES || failures.contains_key(&*item) {
                    failures.insert(item.clone(), Failure { message, at: Timestamp::now(), count });
                }
            }
        }
    }
}

async fn attempt<R: Reconciler>(reconciler: &R, key: &R::Key) -> Result<Outcome, String> {
    let call = AssertUnwindSafe(reconciler.reconcile(key)).catch_unwind();
    match tokio::time::timeout(ATTEMPT, call).await {
        Ok(Ok(result)) => result.map_err(|error| error.to_string()),
        Ok(Err(_)) => Err("reconcile panicked".to_owned()),
        Err(_) => Err(format!("reconcile took longer than {} s", ATTEMPT.as_secs())),
    }
}
