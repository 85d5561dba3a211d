//! Informers: what the apiserver has of a kind, kept here and told about.
//!
//! One watch per kind, selection and process; each subscriber gets every change, or is told that it must look at the
//! whole anew. Watching itself is kube's `watcher`; back-off and store are ours.

mod registry;
mod store;
mod subscription;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;

use tokio::sync::watch as flag;
use tokio_util::sync::DropGuard;

use crate::ObjectKey;
pub use registry::{Informers, Selection};
use store::Store;
pub use subscription::{HandlerGuard, Subscription};

/// What happened to an object. Values are shared, not copied.
#[derive(Debug)]
pub enum Change<P> {
    /// It was added or changed.
    Applied {
        /// Which.
        key: ObjectKey,
        /// What it was, none if it is new here.
        old: Option<Arc<P>>,
        /// What it is.
        new: Arc<P>,
    },
    /// It is gone.
    Deleted {
        /// Which.
        key: ObjectKey,
        /// The last that was known of it.
        old: Arc<P>,
    },
    /// Changes before this were not delivered one by one: look at the whole store.
    Resync,
}

impl<P> Clone for Change<P> {
    fn clone(&self) -> Self {
        match self {
            Self::Applied { key, old, new } => {
                Self::Applied { key: key.clone(), old: old.clone(), new: Arc::clone(new) }
            }
            Self::Deleted { key, old } => Self::Deleted { key: key.clone(), old: Arc::clone(old) },
            Self::Resync => Self::Resync,
        }
    }
}

/// A view of the objects of one kind. Clones share one watch, which ends with the last of them.
pub struct Informer<P> {
    shared: Arc<Shared<P>>,
}

impl<P> Clone for Informer<P> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<P> {
    store: Arc<Store<P>>,
    _stop: DropGuard,
}

impl<P: Send + Sync + 'static> Informer<P> {
    /// The object of this name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<P>> {
        self.shared.store.get(namespace, name)
    }

    /// The object of this key.
    pub fn find(&self, key: &ObjectKey) -> Option<Arc<P>> {
        self.get(&key.namespace, &key.name)
    }

    /// All objects, by namespace and name.
    pub fn list(&self) -> Vec<Arc<P>> {
        self.shared.store.list()
    }

    /// The objects of one namespace, by name.
    pub fn list_namespace(&self, namespace: &str) -> Vec<Arc<P>> {
        self.shared.store.list_namespace(namespace)
    }

    /// The keys of all objects.
    pub fn keys(&self) -> Vec<ObjectKey> {
        self.shared.store.keys()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.shared.store.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps objects findable by the values that `of` gives for each. Adding an index of the same name again changes
    /// nothing.
    pub fn add_index(&self, name: &'static str, of: fn(&P) -> Vec<String>) {
        self.shared.store.add_index(name, of);
    }

    /// The objects that have this value in the index; none if there is no such index.
    pub fn by_index(&self, name: &str, value: &str) -> Vec<Arc<P>> {
        self.shared.store.by_index(name, value)
    }

    /// Changes from now on through a bounded queue. The first answer is [`Change::Resync`]: what is there already.
    pub fn subscribe(&self) -> Subscription<P> {
        self.shared.store.subscribe()
    }

    /// Calls `handler` with every change, and first with each object that is there. None is ever lost, so `handler`
    /// must be quick and must not wait: putting keys into a work queue is what it is for.
    pub fn on_change(&self, handler: impl Fn(&Change<P>) + Send + Sync + 'static) -> HandlerGuard<P> {
        self.shared.store.on_change(Arc::new(handler))
    }

    /// Waits until the first full list has arrived. Cancel by dropping.
    pub async fn synced(&self) {
        let mut synced: flag::Receiver<bool> = self.shared.store.synced();
        // The sender lives in the store, which `self` holds: this cannot fail.
        if synced.wait_for(|done| *done).await.is_err() {
            tracing::debug!("informer ended before it was synced");
        }
    }

    /// Whether the first full list has arrived.
    pub fn has_synced(&self) -> bool {
        *self.shared.store.synced().borrow()
    }
}
