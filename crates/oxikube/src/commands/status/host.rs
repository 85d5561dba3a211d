//! What this machine's files say: certificates, the store, the disk.

use std::path::Path;
use std::time::SystemTime;

use cluster::pki::{Ending, endings};
use nix::sys::statvfs::statvfs;
use serde::Serialize;

use crate::compose;
use crate::instance::Instance;

/// A certificate, and how long it is good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Certificate {
    /// Its file, below the data directory.
    pub(super) file: String,
    pub(super) days_left: i64,
}

/// The certificates of the server and of its machines, those that end first before the others.
pub(super) fn certificates(instance: &Instance) -> Vec<Certificate> {
    let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    let machines = compose::machines_seen(instance).unwrap_or_default();
    let roots = machines.into_iter().map(|seen| seen.machine.root).chain([instance.root().to_owned()]);
    let folders = roots.flat_map(|root| ["pki", "pki/etcd"].map(|folder| root.join(folder)));
    let mut found: Vec<Certificate> = folders
        .flat_map(|folder| endings(&folder))
        .map(|Ending { file, at }| Certificate {
            file: file.strip_prefix(instance.root()).unwrap_or(&file).display().to_string(),
            days_left: (at - now).div_euclid(86_400),
        })
        .collect();
    found.sort_by(|a, b| (a.days_left, &a.file).cmp(&(b.days_left, &b.file)));
    found
}

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
