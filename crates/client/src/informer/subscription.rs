//! The two ways to be told of changes: a call for each, or a bounded queue that says when it overflowed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::mpsc;

use super::Change;
use super::store::Store;

/// Changes that wait for one subscriber; beyond it the subscriber looks at the whole.
const CAPACITY: usize = 1024;

pub(super) type Callback<P> = Arc<dyn Fn(&Change<P>) + Send + Sync>;

pub(super) enum Handler<P> {
    Call(Callback<P>),
    Queue(QueueSender<P>),
}

impl<P> Handler<P> {
    /// False when nobody listens any more.
    pub(super) fn deliver(&self, change: &Change<P>) -> bool {
        match self {
            Self::Call(call) => {
                call(change);
                true
            }
            Self::Queue(sender) => sender.deliver(change),
        }
    }
}

pub(super) struct QueueSender<P> {
    changes: mpsc::Sender<Change<P>>,
    lagged: Arc<AtomicBool>,
}

impl<P> QueueSender<P> {
    fn deliver(&self, change: &Change<P>) -> bool {
        match self.changes.try_send(change.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.lagged.store(true, Ordering::Release);
                true
            }
        }
    }
}

/// A bounded queue of changes.
pub struct Subscription<P> {
    changes: mpsc::Receiver<Change<P>>,
    lagged: Arc<AtomicBool>,
    id: u64,
}

pub(super) fn queue<P>() -> (QueueSender<P>, Subscription<P>) {
    let (sender, changes) = mpsc::channel(CAPACITY);
    // The first thing to do is to look at the whole.
    let lagged = Arc::new(AtomicBool::new(true));
    (QueueSender { changes: sender, lagged: Arc::clone(&lagged) }, Subscription { changes, lagged, id: 0 })
}

impl<P> Subscription<P> {
    pub(super) fn attach(mut self, id: u64) -> Self {
        self.id = id;
        self
    }

    /// The next change, none when the informer has ended.
    pub async fn next(&mut self) -> Option<Change<P>> {
        // Full comes before lagged, so a lagging queue is never empty: this check is reached.
        if self.lagged.swap(false, Ordering::AcqRel) {
            // The store was changed before these were sent: the coming look at it includes them.
            while self.changes.try_recv().is_ok() {}
            return Some(Change::Resync);
        }
        self.changes.recv().await
    }
}

/// Ends the calls of a handler when dropped.
#[must_use = "the handler is called only while this is held"]
pub struct HandlerGuard<P: Send + Sync + 'static> {
    store: Weak<Store<P>>,
    id: u64,
}

impl<P: Send + Sync + 'static> HandlerGuard<P> {
    pub(super) fn new(store: Weak<Store<P>>, id: u64) -> Self {
        Self { store, id }
    }
}

impl<P: Send + Sync + 'static> Drop for HandlerGuard<P> {
    fn drop(&mut self) {
        if let Some(store) = self.store.upgrade() {
            store.remove_handler(self.id);
        }
    }
}
