//! The engine over an etcd cluster: how a cluster grows past one machine.
//!
//! Every API server keeps the same [`Tree`] as over the embedded engine, fed by one watch over all keys; reads, lists
//! and watches are served from it. A write is one transaction. A consistent read asks etcd how far it is and waits for
//! the tree to be there.
//!
//! Revisions are etcd's, plus an offset that is set when a cluster's state is moved here from elsewhere, so that they
//! never go backwards.

mod compaction;
mod earlier;
mod feed;
mod index;
mod keys;
mod leases;
mod members;
mod membership;
mod options;
mod owner;
mod snapshot;
mod write;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use membership::{Member, Membership, MembershipError};
pub use options::{OpenError, Options, Tls};
pub use snapshot::{restore, save};

use crate::{Entry, Event, ListOptions, Page, ReadError, Revision, Store, Tree, Watch, Write, WriteError};
use feed::Loaded;
use index::Index;
use keys::Keys;
use leases::Leases;
use members::{Failure, Members};
use owner::Obstacle;

/// What the engine's tasks share.
struct Shared {
    members: Members,
    keys: Keys,
    decode: fn(Bytes) -> Bytes,
    tree: Arc<Tree>,
    offset: AtomicU64,
    /// Where the tree is; moves with it.
    reached: watch::Sender<Revision>,
    /// The watch has to be made anew.
    reconnect: Notify,
    kicking: tokio::sync::Mutex<()>,
    leases: Leases,
    health: Mutex<Result<(), String>>,
}

impl Shared {
    /// Prepares the connections; nothing is read yet.
    async fn connect(options: &Options) -> Result<Self, OpenError> {
        Ok(Self {
            members: Members::connect(options).await?,
            keys: Keys::new(&options.prefix),
            decode: options.decode,
            tree: Arc::new(Tree::new([], Revision(0), options.history_bytes)),
            offset: AtomicU64::new(0),
            reached: watch::Sender::new(Revision(0)),
            reconnect: Notify::new(),
            kicking: tokio::sync::Mutex::default(),
            leases: Leases::default(),
            health: Mutex::new(Ok(())),
        })
    }

    /// Everything, if it belongs to this cluster.
    async fn load(&self, cluster: &BTreeSet<String>) -> Result<Loaded, Obstacle> {
        owner::check(self, cluster).await?;
        Ok(feed::load(self).await?)
    }

    fn offset(&self) -> u64 {
        self.offset.load(Ordering::Acquire)
    }

    fn publish(&self, events: Vec<Event>) {
        self.tree.publish(events);
        self.reached.send_replace(self.tree.current());
    }

    /// The tree becomes what was loaded; who watched learns that there is a gap.
    fn rebuild(&self, loaded: Loaded) {
        self.offset.store(loaded.offset, Ordering::Release);
        self.tree.reset(loaded.entries.into_iter().map(|p| p.entry), loaded.revision);
        self.reached.send_replace(self.tree.current());
    }

    fn set_health(&self, health: Result<(), String>) {
        *self.health.lock() = health;
    }
}

/// The engine. Dropping it ends its tasks.
pub struct Etcd {
    shared: Arc<Shared>,
    index: Index,
    _tasks: JoinSet<()>,
}

impl Etcd {
    /// Connects, reads everything and starts to follow changes.
    ///
    /// # Errors
    /// When an address or certificate cannot be used, or no member answers in time.
    pub async fn open(options: &Options) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::connect(options).await?);
        let deadline = Instant::now() + options.patience;
        let loaded = loop {
            match shared.load(&options.cluster).await {
                Ok(loaded) => break loaded,
                Err(Obstacle::Refused(refusal)) => return Err(refusal),
                Err(Obstacle::Failed(failure))
                    if Instant::now() >= deadline || matches!(failure, Failure::Refused(..)) =>
                {
                    let endpoints = shared.members.endpoints();
                    return Err(OpenError::Unreachable { endpoints, why: failure.to_string() });
                }
                Err(Obstacle::Failed(failure)) => tracing::info!(%failure, "waiting for etcd"),
            }
        };
        shared.rebuild(loaded);
        let mut tasks = JoinSet::new();
        tasks.spawn(feed::run(shared.clone()));
        tasks.spawn(compaction::run(shared.clone(), options.compaction));
        let (index, asking) = Index::new(shared.clone());
        tasks.spawn(asking);
        Ok(Self { shared, index, _tasks: tasks })
    }

    /// The readable side.
    pub fn tree(&self) -> &Arc<Tree> {
        &self.shared.tree
    }

    /// Waits until the tree holds everything acknowledged before this call.
    async fn catch_up(&self) -> Result<(), ReadError> {
        let revision = self.index.revision().await?;
        index::reach(&self.shared, revision).await
    }
}

#[async_trait]
impl Store for Etcd {
    async fn current(&self) -> Result<Revision, ReadError> {
        self.catch_up().await.map(|()| self.shared.tree.current())
    }

    async fn get(&self, key: &str) -> Result<Option<Arc<Entry>>, ReadError> {
        self.catch_up().await.map(|()| self.shared.tree.get(key))
    }

    async fn list(&self, options: ListOptions<'_>) -> Result<Page, ReadError> {
        if options.at.is_none_or(|at| at > self.shared.tree.current()) {
            self.catch_up().await?;
        }
        self.shared.tree.list(&options)
    }

    async fn write(&self, write: Write) -> Result<(Arc<Entry>, Revision), WriteError> {
        write::write(&self.shared, write).await
    }

    fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, ReadError> {
        self.shared.tree.watch(prefix, from)
    }

    fn health(&self) -> Result<(), String> {
        self.shared.health.lock().clone()
    }

    fn is_shared(&self) -> bool {
        true
    }
}
