//! The engine inside this process.
//!
//! All live entries are in memory ([`Tree`]); a log on disk makes writes durable. One thread writes: it takes whatever
//! waits, appends it in one go, syncs once, and only then makes it visible and acknowledges (group commit). From time to
//! time the live entries are written to a snapshot beside, and the log before it is dropped.
//!
//! A failed sync is never retried: what is on the disk after it is unknown, so the engine stops taking writes. What a full disk
//! did not take is cut off again, and the engine goes on when there is room.

mod disk;
pub(crate) mod format;
mod recover;
mod snapshot;
mod writer;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

pub use disk::{Directory, Disk, File};
pub use snapshot::{restore, save};

use crate::{Entry, ListOptions, Page, ReadError, Revision, Store, Tree, Watch, Write, WriteError};

/// Settings of the engine.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of superseded values that are kept for watches and old lists.
    pub history_bytes: usize,
    /// The log is folded into a snapshot when it is longer than this and than the live data.
    pub log_bytes: u64,
    /// Writes that may wait.
    pub queue: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { history_bytes: 32 << 20, log_bytes: 32 << 20, queue: 8192 }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or a file cannot be read or written.
    #[error("cannot use the store in {path}: {source}")]
    Io {
        /// Which one.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file is damaged in a place that was acknowledged.
    #[error("the store file {file} is damaged at byte {offset}: {what}; restore a snapshot")]
    Damaged {
        /// Which file.
        file: String,
        /// Where.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The data was written by a newer version.
    #[error("the store file {0} has a format that this version does not know; use a newer version")]
    Newer(String),
}

/// A request to the writing thread.
pub(crate) struct Request {
    write: Write,
    reply: oneshot::Sender<Result<(Arc<Entry>, Revision), WriteError>>,
}

/// The engine. Dropping it stops the writing thread after what waits has been written.
pub struct Embedded {
    tree: Arc<Tree>,
    queue: Option<mpsc::Sender<Request>>,
    stopped: Arc<Mutex<Option<String>>>,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl Embedded {
    /// Opens (or makes) the store in a folder.
    pub fn open(path: &Path, options: &Options) -> Result<Self, OpenError> {
        let directory =
            Directory::open(path).map_err(|source| OpenError::Io { path: path.display().to_string(), source })?;
        Self::on(Box::new(directory), options)
    }

    /// Opens a store on any [`Disk`].
    pub fn on(disk: Box<dyn Disk>, options: &Options) -> Result<Self, OpenError> {
        let recovered = recover::recover(&*disk, recover::Mode::Own)?;
        let tree = Arc::new(Tree::new(recovered.entries, recovered.current, options.history_bytes));
        let stopped = Arc::new(Mutex::new(None));
        let (queue, requests) = mpsc::channel(options.queue);
        let writer = writer::Writer::new(disk, tree.clone(), stopped.clone(), recovered.next_file, options)?;
        let thread = std::thread::Builder::new().name("store".into()).spawn(move || writer.run(requests));
        let writer = thread.map_err(|source| OpenError::Io { path: "writing thread".into(), source })?;
        Ok(Self { tree, queue: Some(queue), stopped, writer: Some(writer) })
    }

    /// The readable side.
    pub fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    fn stopped(&self) -> WriteError {
        WriteError::Stopped(self.stopped.lock().clone().unwrap_or_else(|| "shutting down".into()))
    }
}

#[async_trait]
impl Store for Embedded {
    async fn current(&self) -> Result<Revision, ReadError> {
        Ok(self.tree.current())
    }

    async fn get(&self, key: &str) -> Result<Option<Arc<Entry>>, ReadError> {
        Ok(self.tree.get(key))
    }

    async fn list(&self, options: ListOptions<'_>) -> Result<Page, ReadError> {
        self.tree.list(&options)
    }

    async fn write(&self, write: Write) -> Result<(Arc<Entry>, Revision), WriteError> {
        let (reply, answer) = oneshot::channel();
        let Some(queue) = &self.queue else { return Err(self.stopped()) };
        queue.send(Request { write, reply }).await.map_err(|_| self.stopped())?;
        answer.await.map_err(|_| self.stopped())?
    }

    fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, ReadError> {
        self.tree.watch(prefix, from)
    }

    fn health(&self) -> Result<(), String> {
        self.stopped.lock().clone().map_or(Ok(()), Err)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writing thread panicked");
        }
    }
}

/// What the bytes of one record say, if they say anything.
pub(crate) fn read_record(payload: &[u8]) {
    drop(format::parse(payload));
}

#[cfg(test)]
mod tests;
