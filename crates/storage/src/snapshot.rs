//! The whole state as one file: for keeping, and for moving a cluster from one engine to the other.
//!
//! Revisions in it are those that clients saw. Who restores it starts far above the highest one, so that no revision is
//! used twice even if the cluster went on after the snapshot; watches of before learn that there is a gap (410).

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use crate::embedded::format::{HEADER, Record, decode, write_snapshot};
use crate::{Entry, Revision};

/// Revisions that a cluster may have used after its snapshot was taken.
pub const GAP: u64 = 1_000_000_000;

/// All live entries, and the revision that they belong to.
#[derive(Debug)]
pub struct Snapshot {
    /// In key order.
    pub entries: Vec<Arc<Entry>>,
    /// Not below any revision that was answered until then.
    pub revision: Revision,
}

/// Why a snapshot could not be taken, read or restored.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is none of ours, or not whole.
    #[error("{path} is not a whole snapshot: {what}")]
    Damaged {
        /// Which one.
        path: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The embedded store.
    #[error(transparent)]
    Embedded(#[from] crate::embedded::OpenError),
    /// The etcd cluster.
    #[error(transparent)]
    Open(#[from] crate::etcd::OpenError),
    /// The etcd cluster said no, or nothing.
    #[error("{0}")]
    Etcd(String),
    /// There is something already.
    #[error("the target is not empty: it holds {0} keys; say --replace to have the snapshot instead of them")]
    NotEmpty(usize),
}

impl Snapshot {
    /// Writes a new file, whole and durable or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), SnapshotError> {
        let failed = |source| SnapshotError::Io { path: path.display().to_string(), source };
        let temporary = path.with_extension("part");
        self.write(&temporary).and_then(|()| std::fs::rename(&temporary, path)).map_err(failed)?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|f| f.sync_all()).map_err(failed)
    }

    fn write(&self, path: &Path) -> std::io::Result<()> {
        use std::os::unix::fs::OpenOptionsExt;
        // Secrets are in it.
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        write_snapshot(self.entries.iter(), self.revision, &mut |bytes| file.write_all(bytes))?;
        file.sync_all()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or is not a whole snapshot.
    pub fn load(path: &Path) -> Result<Self, SnapshotError> {
        let name = path.display().to_string();
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|mut f| f.read_to_end(&mut bytes));
        read.map_err(|source| SnapshotError::Io { path: name.clone(), source })?;
        let damaged = |what| SnapshotError::Damaged { path: name.clone(), what };
        let mut rest = bytes.strip_prefix(HEADER.as_slice()).ok_or_else(|| damaged("it does not begin like one"))?;
        let mut entries = Vec::new();
        while let Some((record, length)) = decode(rest) {
            rest = rest.get(length..).unwrap_or_default();
            match record {
                Record::Put(entry) => entries.push(entry),
                Record::End(revision) if rest.is_empty() => return Ok(Self { entries, revision }),
                _ => return Err(damaged("there is something in it that does not belong there")),
            }
        }
        Err(damaged("it breaks off"))
    }
}
