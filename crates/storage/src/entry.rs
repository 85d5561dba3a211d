//! What is stored, and what happens to it.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

/// Number of a change, cluster-wide and ever growing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key: a path such as `/registry/pods/default/web`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub Arc<str>);

impl Key {
    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What watchers are grouped by: the first segment below `/registry/` (or the first at all).
    pub(crate) fn bucket(path: &str) -> &str {
        let path = path.strip_prefix("/registry/").unwrap_or(path);
        path.split('/').next().unwrap_or_default()
    }
}

impl From<&str> for Key {
    fn from(path: &str) -> Self {
        Self(path.into())
    }
}

impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// One stored object at one revision. Shared, never changed.
pub struct Entry {
    /// Its key.
    pub key: Key,
    /// Its value.
    pub value: Bytes,
    /// Revision at which the key came to be.
    pub created: Revision,
    /// Revision of this value.
    pub modified: Revision,
    /// Wall-clock second at which it goes by itself; 0 means never.
    pub expires: u64,
    /// Whatever the reader derives from the value and wants to keep beside it.
    pub memo: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl Entry {
    /// Bytes that it occupies, about.
    pub(crate) fn size(&self) -> usize {
        self.value.len() + self.key.0.len() + 160
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} ({} bytes)", self.key.0, self.modified, self.value.len())
    }
}

/// A change.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its number.
    pub revision: Revision,
    /// What is there now; none after a deletion.
    pub now: Option<Arc<Entry>>,
    /// What was there before.
    pub before: Option<Arc<Entry>>,
}

impl Event {
    /// The key that changed.
    pub fn key(&self) -> Option<&Key> {
        self.now.as_ref().or(self.before.as_ref()).map(|e| &e.key)
    }

    pub(crate) fn size(&self) -> usize {
        self.before.as_ref().map_or(0, |e| e.size()) + 64
    }
}
