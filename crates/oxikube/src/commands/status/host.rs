//! What this machine's files say: the store, the disk.

use std::path::Path;

use nix::sys::statvfs::statvfs;

/// Bytes below a folder; what cannot be read counts nothing.
pub(super) fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok().map(|found| (entry.path(), found)))
        .fold(0, |sum, (path, found)| sum + if found.is_dir() { size(&path) } else { found.len() })
}

/// How much of a folder's disk is free.
pub(super) fn free_percent(folder: &Path) -> Option<u64> {
    let disk = statvfs(folder).ok()?;
    (disk.blocks_available() * 100).checked_div(disk.blocks())
}
