//! From files to entries: the newest complete snapshot, then the logs that follow it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::format::{HEADER, Record, decode};
use super::{Disk, OpenError};
use crate::{Entry, Key, Revision};

/// What a folder held.
pub(super) struct Recovered {
    /// Live entries.
    pub(super) entries: Vec<Arc<Entry>>,
    /// Above every revision that was ever answered.
    pub(super) current: Revision,
    /// Number of the next file.
    pub(super) next_file: u64,
}

/// File names carry a growing number: `log-N` follows `snapshot-N`.
pub(super) fn number(name: &str, kind: &str) -> Option<u64> {
    name.strip_prefix(kind)?.parse().ok()
}

/// Who reads a folder.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Mode {
    /// The one who writes it from now on: left-overs are removed, a torn end is cut off.
    Own,
    /// Somebody else, perhaps while it is written: nothing is touched.
    Look,
}

/// Reads a folder.
pub(super) fn recover(disk: &dyn Disk, mode: Mode) -> Result<Recovered, OpenError> {
    let names = disk.list().map_err(|source| OpenError::Io { path: "store".into(), source })?;
    for name in names.iter().filter(|n| mode == Mode::Own && n.ends_with(".tmp")) {
        disk.remove(name).map_err(|source| OpenError::Io { path: name.clone(), source })?;
    }
    let snapshot = names.iter().filter_map(|n| number(n, "snapshot-")).max();
    let mut logs: Vec<u64> = names.iter().filter_map(|n| number(n, "log-")).collect();
    logs.sort_unstable();
    logs.retain(|n| snapshot.is_none_or(|s| *n >= s));
    let mut state = State { entries: BTreeMap::new(), newest: Revision(0), reserved: Revision(0), mode };
    if let Some(n) = snapshot {
        state.read(disk, &format!("snapshot-{n}"), Tail::Complete)?;
    }
    let last = logs.last().copied();
    for n in &logs {
        let tail = if Some(*n) == last { Tail::MayBeTorn } else { Tail::Whole };
        state.read(disk, &format!("log-{n}"), tail)?;
    }
    let next_file = last.max(snapshot).map_or(1, |n| n + 1);
    Ok(Recovered {
        entries: state.entries.into_values().collect(),
        current: state.newest.max(state.reserved).max(Revision(1)),
        next_file,
    })
}

/// What may stand at the end of a file.
#[derive(Clone, Copy, PartialEq)]
enum Tail {
    /// A snapshot: the end record.
    Complete,
    /// An older log: nothing but whole records.
    Whole,
    /// The newest log: what was being written when the power went.
    MayBeTorn,
}

struct State {
    entries: BTreeMap<Key, Arc<Entry>>,
    newest: Revision,
    reserved: Revision,
    mode: Mode,
}

impl State {
    fn read(&mut self, disk: &dyn Disk, name: &str, tail: Tail) -> Result<(), OpenError> {
        let bytes = disk.read(name).map_err(|source| OpenError::Io { path: name.into(), source })?;
        let Some(body) = bytes.strip_prefix(HEADER.as_slice()) else {
            header_error(name, &bytes, tail)?;
            return self.cut(disk, name, None);
        };
        let mut rest = body;
        let mut ended = false;
        while let Some((record, length)) = decode(rest) {
            ended = matches!(record, Record::End(_));
            self.apply(record);
            rest = rest.get(length..).unwrap_or_default();
        }
        let damaged = |what| Err(OpenError::Damaged { file: name.into(), offset: bytes.len() - rest.len(), what });
        match tail {
            Tail::Complete if !ended => damaged("the snapshot has no end"),
            // A new log follows: from now on this one has to be whole, cheap writes included.
            Tail::MayBeTorn if rest.is_empty() => self.cut(disk, name, Some(bytes.len())),
            _ if rest.is_empty() => Ok(()),
            Tail::MayBeTorn if !sound_record_within(rest) => {
                tracing::warn!(file = name, bytes = rest.len(), "dropped an unfinished write at the end of the log");
                self.cut(disk, name, Some(bytes.len() - rest.len()))
            }
            _ => damaged("a record is not sound, but sound ones follow"),
        }
    }

    /// Cuts a file to its sound part, or removes one that has none.
    fn cut(&self, disk: &dyn Disk, name: &str, sound: Option<usize>) -> Result<(), OpenError> {
        let done = match (self.mode, sound) {
            (Mode::Look, _) => Ok(()),
            (Mode::Own, Some(length)) => disk.truncate(name, length as u64),
            (Mode::Own, None) => disk.remove(name),
        };
        done.map_err(|source| OpenError::Io { path: name.into(), source })
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Put(entry) => {
                self.newest = self.newest.max(entry.modified);
                self.entries.insert(entry.key.clone(), entry);
            }
            Record::Delete { key, revision } => {
                self.newest = self.newest.max(revision);
                self.entries.remove(&key);
            }
            Record::Reserve(revision) => self.reserved = self.reserved.max(revision),
            Record::End(revision) => self.newest = self.newest.max(revision),
        }
    }
}

fn header_error(name: &str, bytes: &[u8], tail: Tail) -> Result<(), OpenError> {
    let (magic, version) = HEADER.split_at(7);
    match bytes.split_at_checked(8) {
        None if tail == Tail::MayBeTorn => Ok(()),
        Some((head, _)) if head.starts_with(magic) && !head.ends_with(version) => Err(OpenError::Newer(name.into())),
        Some((head, _)) if tail == Tail::MayBeTorn && head.iter().all(|b| *b == 0) => Ok(()),
        _ => Err(OpenError::Damaged { file: name.into(), offset: 0, what: "this is not a store file" }),
    }
}

/// A torn tail has no whole record in it; damage in the middle does. Records were written in one append, so that a
/// tail with a sound record after an unsound one was acknowledged once.
fn sound_record_within(bytes: &[u8]) -> bool {
    (1..bytes.len()).any(|i| bytes.get(i..).and_then(decode).is_some())
}
