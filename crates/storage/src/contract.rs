//! The contract that every engine keeps.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Entry, Key, Revision, Watch};

/// How much a write promises when it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On disk (or in the quorum) before it is acknowledged.
    Durable,
    /// In order, but a power cut may lose it: Events, and Lease renewals that keep the holder.
    Cheap,
}

/// One change that is asked for.
#[derive(Debug, Clone)]
pub struct Write {
    /// The key.
    pub key: Key,
    /// The new value; none deletes.
    pub value: Option<Bytes>,
    /// Revision that the key must have now; none: the key must not exist.
    pub expected: Option<Revision>,
    /// What the acknowledgement promises.
    pub durability: Durability,
    /// Seconds after which the value goes by itself.
    pub ttl_seconds: Option<u64>,
}

/// Why a write was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// The key is not at the expected revision; carries what is there.
    #[error("the key has changed")]
    Conflict(Option<Arc<Entry>>),
    /// The engine takes nothing now: a full disk, a failed sync, shutting down. Nothing was acknowledged.
    #[error("the store does not take writes: {0}")]
    Stopped(String),
    /// The queue is full.
    #[error("the store is overloaded")]
    Overloaded,
}

/// Why a read could not be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The revision is older than what is kept.
    #[error("the required revision {asked} has been compacted, the oldest is {oldest}")]
    Compacted {
        /// What was asked for.
        asked: Revision,
        /// What is still there.
        oldest: Revision,
    },
    /// The revision has not happened yet.
    #[error("revision {asked} is in the future, the present one is {current}")]
    Future {
        /// What was asked for.
        asked: Revision,
        /// The present revision.
        current: Revision,
    },
    /// The engine cannot be reached.
    #[error("the store cannot be read: {0}")]
    Unavailable(String),
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions<'a> {
    /// Start of the keys.
    pub prefix: &'a str,
    /// Only keys after this one.
    pub after: Option<&'a str>,
    /// At this revision; none: now.
    pub at: Option<Revision>,
    /// At most so many; 0 means all.
    pub limit: usize,
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The entries, in key order.
    pub entries: Vec<Arc<Entry>>,
    /// The revision that the page was cut at.
    pub revision: Revision,
    /// How many more there are after the last one.
    pub remaining: usize,
}

/// An engine.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The revision of the newest acknowledged change.
    async fn current(&self) -> Result<Revision, ReadError>;
    /// The value of a key, as of the newest acknowledged change.
    async fn get(&self, key: &str) -> Result<Option<Arc<Entry>>, ReadError>;
    /// A page of keys.
    async fn list(&self, options: ListOptions<'_>) -> Result<Page, ReadError>;
    /// One compare-and-swap. Returns the new entry, or the deleted one, and the revision of the change.
    async fn write(&self, write: Write) -> Result<(Arc<Entry>, Revision), WriteError>;
    /// Changes below `prefix` after `from`; every one once and in order.
    fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, ReadError>;
    /// Whether writes are taken; the reason if not.
    fn health(&self) -> Result<(), String>;
    /// Whether other processes write to it, too.
    fn is_shared(&self) -> bool {
        false
    }
}
