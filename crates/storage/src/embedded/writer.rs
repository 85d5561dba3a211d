//! The one thread that writes: batches, log, snapshots.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::format::{HEADER, Record, encode, write_snapshot};
use super::recover::number;
use super::{Disk, File, OpenError, Options, Request};
use crate::{Durability, Entry, Event, Key, Revision, Tree, Write, WriteError};

/// Revisions that one reservation covers.
const RESERVE: u64 = 4096;
/// Most writes in one batch, and most bytes.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 8 << 20;

pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    log: Box<dyn File>,
    log_number: u64,
    /// Bytes in the log file.
    log_end: u64,
    /// Bytes since the last try to fold.
    log_length: u64,
    tree: Arc<Tree>,
    stopped: Arc<Mutex<Option<String>>>,
    revision: Revision,
    reserved: Revision,
    expiring: BTreeSet<(u64, Key)>,
    folding: Option<std::thread::JoinHandle<std::io::Result<()>>>,
    log_bytes: u64,
}

type Answer = (oneshot::Sender<Result<(Arc<Entry>, Revision), WriteError>>, Arc<Entry>, Revision);

/// What a batch has come to so far.
#[derive(Default)]
struct Batch {
    staged: HashMap<Key, Option<Arc<Entry>>>,
    bytes: Vec<u8>,
    events: Vec<Event>,
    answers: Vec<Answer>,
    durable: bool,
}

impl Writer {
    pub(super) fn new(
        disk: Box<dyn Disk>,
        tree: Arc<Tree>,
        stopped: Arc<Mutex<Option<String>>>,
        next_file: u64,
        options: &Options,
    ) -> Result<Self, OpenError> {
        let disk: Arc<dyn Disk> = disk.into();
        let (_, revision) = tree.snapshot();
        let expiring = expiring(&tree);
        let reserved = Revision(revision.0 + RESERVE);
        let (log, log_end) = start_log(&*disk, next_file, reserved)
            .map_err(|source| OpenError::Io { path: format!("log-{next_file}"), source })?;
        Ok(Self {
            disk,
            log,
            log_number: next_file,
            log_end,
            log_length: 0,
            tree,
            stopped,
            revision,
            reserved,
            expiring,
            folding: None,
            log_bytes: options.log_bytes,
        })
    }

    /// Takes requests until the queue is closed.
    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let Ok(runtime) = runtime else {
            *self.stopped.lock() = Some("the writing thread could not start".into());
            return;
        };
        while let Some(first) = self.wait(&runtime, &mut requests) {
            let mut batch = Batch::default();
            let mut next = first;
            while let Some(request) = next {
                self.stage(request, &mut batch);
                next = if batch.answers.len() < BATCH && batch.bytes.len() < BATCH_BYTES {
                    requests.try_recv().ok()
                } else {
                    None
                };
            }
            self.expire(&mut batch);
            if let Err(error) = self.commit(batch).and_then(|()| self.fold_if_long()) {
                *self.stopped.lock() = Some(error.to_string());
                tracing::error!(%error, "the store stops taking writes");
                return;
            }
        }
        self.join_fold();
    }

    /// The next request; none inside when something expires first; none at all when the queue is closed.
    fn wait(
        &self,
        runtime: &tokio::runtime::Runtime,
        requests: &mut mpsc::Receiver<Request>,
    ) -> Option<Option<Request>> {
        let Some((at, _)) = self.expiring.first() else { return requests.blocking_recv().map(Some) };
        let until = std::time::Duration::from_secs(at.saturating_sub(now()).max(1));
        runtime.block_on(async {
            match tokio::time::timeout(until, requests.recv()).await {
                Ok(request) => request.map(Some),
                Err(_) => Some(None),
            }
        })
    }

    fn stage(&mut self, request: Request, batch: &mut Batch) {
        let Request { write, reply } = request;
        let present = match batch.staged.get(&write.key) {
            Some(staged) => staged.clone(),
            None => self.tree.get(write.key.as_str()),
        };
        let matches = match (&present, write.expected) {
            (None, None) => write.value.is_some(),
            (Some(entry), Some(revision)) => entry.modified == revision,
            _ => false,
        };
        if !matches {
            answer(reply, Err(WriteError::Conflict(present)));
            return;
        }
        let (entry, revision) = self.apply(write, present, batch);
        batch.answers.push((reply, entry, revision));
    }

    fn apply(&mut self, write: Write, before: Option<Arc<Entry>>, batch: &mut Batch) -> (Arc<Entry>, Revision) {
        self.revision = Revision(self.revision.0 + 1);
        let revision = self.revision;
        if revision >= self.reserved {
            self.reserved = Revision(revision.0 + RESERVE);
            encode(&Record::Reserve(self.reserved), &mut batch.bytes);
            batch.durable = true;
        }
        batch.durable |= write.durability == Durability::Durable;
        if let Some(old) = before.as_ref().filter(|e| e.expires > 0) {
            self.expiring.remove(&(old.expires, old.key.clone()));
        }
        let now = write.value.map(|value| {
            Arc::new(Entry {
                key: write.key.clone(),
                value,
                created: before.as_ref().map_or(revision, |e| e.created),
                modified: revision,
                expires: write.ttl_seconds.map_or(0, |ttl| now() + ttl),
                memo: OnceLock::new(),
            })
        });
        match &now {
            Some(entry) => {
                if entry.expires > 0 {
                    self.expiring.insert((entry.expires, entry.key.clone()));
                }
                encode(&Record::Put(entry.clone()), &mut batch.bytes);
            }
            None => encode(&Record::Delete { key: write.key.clone(), revision }, &mut batch.bytes),
        }
        batch.staged.insert(write.key, now.clone());
        let result = now.clone().or_else(|| before.clone());
        batch.events.push(Event { revision, now, before });
        match result {
            Some(entry) => (entry, revision),
            None => unreachable!("a write without value has an entry before it"),
        }
    }

    /// Removes what has lived its time.
    fn expire(&mut self, batch: &mut Batch) {
        let now = now();
        while let Some((at, key)) = self.expiring.first().cloned()
            && at <= now
        {
            self.expiring.pop_first();
            let present = batch.staged.get(&key).cloned().unwrap_or_else(|| self.tree.get(key.as_str()));
            if let Some(entry) = present.filter(|e| e.expires == at) {
                let expected = Some(entry.modified);
                let write = Write { key, value: None, expected, durability: Durability::Cheap, ttl_seconds: None };
                self.apply(write, Some(entry), batch);
            }
        }
    }

    fn commit(&mut self, batch: Batch) -> std::io::Result<()> {
        if batch.events.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.log.append(&batch.bytes) {
            let undone = if is_full(&error) { self.undo(&error) } else { Err(error) };
            return refuse(batch, undone, "no space left on the disk");
        }
        if batch.durable
            && let Err(error) = self.log.sync()
        {
            return refuse(batch, Err(error), "");
        }
        let bytes = batch.bytes.len() as u64;
        self.log_end += bytes;
        self.log_length += bytes;
        self.tree.publish(batch.events);
        // Who hears that a write was taken finds the store well.
        if self.stopped.lock().take().is_some() {
            tracing::warn!("there is room on the disk again, the store takes writes");
        }
        for (reply, entry, revision) in batch.answers {
            answer(reply, Ok((entry, revision)));
        }
        Ok(())
    }

    /// Takes back what a full disk did not hold whole; nothing of it was acknowledged or synced. The store goes on, and writes
    /// again as soon as there is room.
    fn undo(&mut self, error: &std::io::Error) -> std::io::Result<()> {
        self.disk.truncate(&log_name(self.log_number), self.log_end)?;
        // A reservation may have been among it: the next write makes another.
        self.reserved = self.revision;
        self.expiring = expiring(&self.tree);
        if self.stopped.lock().replace(error.to_string()).is_none() {
            tracing::error!(%error, "the store takes no writes until there is room on the disk");
        }
        Ok(())
    }

    /// Starts a new log and, beside, a snapshot of everything before it.
    fn fold_if_long(&mut self) -> std::io::Result<()> {
        if self.folding.as_ref().is_some_and(|t| t.is_finished()) {
            self.join_fold();
        }
        if self.log_length < self.log_bytes || self.folding.is_some() {
            return Ok(());
        }
        // Only the newest log may have a torn end; cheap writes may not be on disk yet.
        self.log.sync()?;
        let (entries, revision) = self.tree.snapshot();
        let next = self.log_number + 1;
        self.reserved = Revision(revision.0 + RESERVE);
        let (log, end) = match start_log(&*self.disk, next, self.reserved) {
            Ok(started) => started,
            Err(error) => {
                tracing::error!(%error, "cannot start a new log, the old one goes on");
                self.log_length = 0;
                return remove_if_there(&*self.disk, &log_name(next));
            }
        };
        self.log = log;
        self.log_number = next;
        self.log_end = end;
        self.log_length = 0;
        let disk = self.disk.clone();
        let work = move || fold(&*disk, next, entries.values(), revision);
        match std::thread::Builder::new().name("store-fold".into()).spawn(work) {
            Ok(thread) => self.folding = Some(thread),
            Err(error) => tracing::error!(%error, "cannot fold the log"),
        }
        Ok(())
    }

    fn join_fold(&mut self) {
        match self.folding.take().map(std::thread::JoinHandle::join) {
            Some(Ok(Err(error))) => tracing::error!(%error, "folding the log failed, it will be tried again"),
            Some(Err(_)) => tracing::error!("folding the log panicked"),
            Some(Ok(Ok(()))) | None => {}
        }
    }
}

fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    // The caller may have gone away; the write stands all the same.
    drop(reply.send(value));
}

/// Tells whoever waits that a batch was not written.
fn refuse(batch: Batch, outcome: std::io::Result<()>, why: &str) -> std::io::Result<()> {
    let why = outcome.as_ref().map_or_else(ToString::to_string, |()| why.to_owned());
    for (reply, _, _) in batch.answers {
        answer(reply, Err(WriteError::Stopped(why.clone())));
    }
    outcome
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

fn expiring(tree: &Tree) -> BTreeSet<(u64, Key)> {
    let (entries, _) = tree.snapshot();
    entries.values().filter(|entry| entry.expires > 0).map(|entry| (entry.expires, entry.key.clone())).collect()
}

fn log_name(number: u64) -> String {
    format!("log-{number}")
}

/// A file that could not be written whole must not be taken for a log after the next start.
fn remove_if_there(disk: &dyn Disk, name: &str) -> std::io::Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => disk.sync(),
    }
}

/// A new log, and its length.
fn start_log(disk: &dyn Disk, number: u64, reserved: Revision) -> std::io::Result<(Box<dyn File>, u64)> {
    let mut log = disk.create(&log_name(number))?;
    let mut bytes = HEADER.to_vec();
    encode(&Record::Reserve(reserved), &mut bytes);
    log.append(&bytes)?;
    log.sync()?;
    disk.sync()?;
    Ok((log, bytes.len() as u64))
}

/// Writes `snapshot-N`, then removes all files before it.
fn fold<'a>(
    disk: &dyn Disk,
    n: u64,
    entries: impl Iterator<Item = &'a Arc<Entry>>,
    revision: Revision,
) -> std::io::Result<()> {
    let (temporary, name) = (format!("snapshot-{n}.tmp"), format!("snapshot-{n}"));
    let mut file = disk.create(&temporary)?;
    let written = write_snapshot(entries, revision, &mut |bytes| file.append(bytes)).and_then(|()| file.sync());
    if let Err(error) = written {
        // It would hold the room that is short.
        remove_if_there(disk, &temporary)?;
        return Err(error);
    }
    disk.rename(&temporary, &name)?;
    disk.sync()?;
    for old in disk.list()? {
        let before = |kind| number(&old, kind).is_some_and(|m| m < n);
        if before("log-") || before("snapshot-") {
            disk.remove(&old)?;
        }
    }
    disk.sync()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
