//! The state of a cluster out of the files of the embedded store and into them.

use std::path::Path;

use super::format::write_snapshot;
use super::recover::{Mode, recover};
use super::{Directory, Disk, OpenError};
use crate::Revision;
use crate::snapshot::{GAP, Snapshot, SnapshotError};

/// How often reading is begun anew because the server folded its log meanwhile.
const ATTEMPTS: usize = 20;

/// Reads the files of a store, which a server may be writing meanwhile.
///
/// # Errors
/// When there is no sound store.
pub fn save(folder: &Path) -> Result<Snapshot, SnapshotError> {
    if !folder.is_dir() {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(SnapshotError::Io { path: folder.display().to_string(), source });
    }
    let disk = open(folder)?;
    let mut attempts = 0;
    loop {
        attempts += 1;
        match recover(&disk, Mode::Look) {
            // A file that was listed was folded and removed before it was read.
            Err(_) if attempts < ATTEMPTS => std::thread::yield_now(),
            Err(error) => return Err(error.into()),
            Ok(read) => return Ok(Snapshot { entries: read.entries, revision: read.current }),
        }
    }
}

/// Makes a store of a snapshot; nobody may have it open. With `replace` it takes the place of the store that is there,
/// which stays beside it.
///
/// # Errors
/// When there is a store already and nobody said to replace it, or the files cannot be written.
pub fn restore(folder: &Path, snapshot: &Snapshot, replace: bool) -> Result<Revision, SnapshotError> {
    let present = recover(&open(folder)?, Mode::Look)?;
    if !present.entries.is_empty() && !replace {
        return Err(SnapshotError::NotEmpty(present.entries.len()));
    }
    let revision = Revision(snapshot.revision.max(present.current).0 + GAP);
    let failed = |source| SnapshotError::Io { path: folder.display().to_string(), source };
    let fresh = folder.with_extension("new");
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh).map_err(failed)?;
    }
    let disk = open(&fresh)?;
    write(&disk, snapshot, revision).map_err(failed)?;
    let old = folder.with_extension(format!("before-{}", revision.0));
    std::fs::rename(folder, &old).and_then(|()| std::fs::rename(&fresh, folder)).map_err(failed)?;
    if present.entries.is_empty() {
        std::fs::remove_dir_all(&old).map_err(failed)?;
    }
    Ok(revision)
}

fn open(folder: &Path) -> Result<Directory, OpenError> {
    Directory::open(folder).map_err(|source| OpenError::Io { path: folder.display().to_string(), source })
}

/// The files of a store whose revisions go on above `revision`.
fn write(disk: &Directory, snapshot: &Snapshot, revision: Revision) -> std::io::Result<()> {
    let mut file = disk.create("snapshot-1")?;
    write_snapshot(snapshot.entries.iter(), revision, &mut |bytes| file.append(bytes))?;
    file.sync()?;
    disk.sync()
}
