//! Bytes on disk.
//!
//! A file is an eight-byte header and records: length (u32, little endian), CRC-32 of the payload (u32), payload. A
//! payload is a tag and its fields. The same records make up logs and snapshots; a snapshot ends with [`Record::End`].

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::{Entry, Key, Revision};

/// Header of every file; the last byte is the format's number.
pub(crate) const HEADER: &[u8; 8] = b"oxistor\x01";
/// No record is longer: an object is at most a few MiB.
const MAX_RECORD: usize = 64 << 20;

/// One record.
#[derive(Debug)]
pub(crate) enum Record {
    /// A key has a new value.
    Put(Arc<Entry>),
    /// A key is gone.
    Delete { key: Key, revision: Revision },
    /// Revisions up to this one may have been answered.
    Reserve(Revision),
    /// A snapshot is complete, as of this revision.
    End(Revision),
}

/// Appends a record.
pub(crate) fn encode(record: &Record, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    match record {
        Record::Put(entry) => {
            out.push(1);
            for number in [entry.modified.0, entry.created.0, entry.expires] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(&(entry.key.0.len() as u32).to_le_bytes());
            out.extend_from_slice(entry.key.0.as_bytes());
            out.extend_from_slice(&entry.value);
        }
        Record::Delete { key, revision } => {
            out.push(2);
            out.extend_from_slice(&revision.0.to_le_bytes());
            out.extend_from_slice(key.0.as_bytes());
        }
        Record::Reserve(revision) => {
            out.push(3);
            out.extend_from_slice(&revision.0.to_le_bytes());
        }
        Record::End(revision) => {
            out.push(4);
            out.extend_from_slice(&revision.0.to_le_bytes());
        }
    }
    let payload = out.get(start + 8..).unwrap_or_default();
    let (length, sum) = (payload.len() as u32, crc32fast::hash(payload));
    if let Some(head) = out.get_mut(start..start + 8) {
        head.copy_from_slice(&(u64::from(sum) << 32 | u64::from(length)).to_le_bytes());
    }
}

/// Writes a whole snapshot piece by piece.
pub(crate) fn write_snapshot<'a>(
    entries: impl Iterator<Item = &'a Arc<Entry>>,
    revision: Revision,
    append: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut bytes = HEADER.to_vec();
    for entry in entries {
        encode(&Record::Put(entry.clone()), &mut bytes);
        if bytes.len() > 1 << 20 {
            append(&bytes)?;
            bytes.clear();
        }
    }
    encode(&Record::End(revision), &mut bytes);
    append(&bytes)
}

/// Reads the record at the start of `bytes`; with it, how many bytes it takes. None: not a whole, sound record.
pub(crate) fn decode(bytes: &[u8]) -> Option<(Record, usize)> {
    let (head, rest) = bytes.split_at_checked(8)?;
    let head = u64::from_le_bytes(head.try_into().ok()?);
    let length = (head & 0xffff_ffff) as usize;
    if length == 0 || length > MAX_RECORD {
        return None;
    }
    let payload = rest.get(..length)?;
    if u64::from(crc32fast::hash(payload)) != head >> 32 {
        return None;
    }
    Some((parse(payload)?, length + 8))
}

/// What a record's payload says.
pub(super) fn parse(payload: &[u8]) -> Option<Record> {
    let (tag, rest) = payload.split_first()?;
    let (first, rest) = number(rest)?;
    match tag {
        1 => {
            let (created, rest) = number(rest)?;
            let (expires, rest) = number(rest)?;
            let (length, rest) = rest.split_at_checked(4)?;
            let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
            let (key, value) = rest.split_at_checked(length)?;
            Some(Record::Put(Arc::new(Entry {
                key: std::str::from_utf8(key).ok()?.into(),
                value: Bytes::copy_from_slice(value),
                created: Revision(created),
                modified: Revision(first),
                expires,
                memo: OnceLock::new(),
            })))
        }
        2 => Some(Record::Delete { key: std::str::from_utf8(rest).ok()?.into(), revision: Revision(first) }),
        3 => Some(Record::Reserve(Revision(first))),
        4 => Some(Record::End(Revision(first))),
        _ => None,
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (head, rest) = bytes.split_at_checked(8)?;
    Some((u64::from_le_bytes(head.try_into().ok()?), rest))
}
