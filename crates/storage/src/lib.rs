//! The state of a cluster as an ordered, versioned key-value store: the subset of etcd's semantics that Kubernetes
//! uses. Keys are paths, values are opaque bytes, one counter numbers all changes.
//!
//! [`Store`] is the contract. [`embedded`] is the engine inside this process: every live object in memory, every
//! acknowledged write on disk. [`etcd`] is the engine that several API servers share. Knows nothing of Kubernetes objects; only the API server talks to it.

mod contract;
pub mod embedded;
mod entry;
pub mod etcd;
#[doc(hidden)]
pub mod fuzzing;
pub mod snapshot;
mod tree;

pub use contract::{Durability, ListOptions, Page, ReadError, Store, Write, WriteError};
pub use entry::{Entry, Event, Key, Revision};
pub use tree::{Tree, Watch};
