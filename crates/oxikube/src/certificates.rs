//! The certificates on this machine.

use std::path::PathBuf;
use std::time::SystemTime;

use cluster::pki::{self, Kept};
use serde::Serialize;

use crate::compose;
use crate::instance::Instance;

/// A certificate, and how long it is good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Certificate {
    /// Its file, below the data directory.
    pub(crate) file: String,
    pub(crate) days_left: i64,
    pub(crate) expires: String,
    /// Who signed it.
    pub(crate) authority: String,
    pub(crate) is_authority: bool,
}

/// Data directories of the server, and of the machines that are made on this one.
pub(crate) fn roots(instance: &Instance) -> Vec<PathBuf> {
    let machines = compose::machines_seen(instance).unwrap_or_default().into_iter().map(|seen| seen.machine.root);
    let machines = machines.flat_map(|root| [root.join("master"), root]);
    [instance.root().to_owned()].into_iter().chain(machines).collect()
}

/// Folders with certificates, below a data directory.
pub(crate) const FOLDERS: [&str; 2] = ["pki", "pki/etcd"];

/// All certificates, those that end first before the others.
pub(crate) fn all(instance: &Instance) -> Vec<Certificate> {
    let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    let folders =
        roots(instance).into_iter().flat_map(|root| FOLDERS.map(|folder| root.join(folder)).into_iter().chain([root]));
    let mut found: Vec<Certificate> = folders
        .flat_map(|folder| pki::kept(&folder))
        .map(|Kept { file, end, authority, is_authority }| Certificate {
            file: file.strip_prefix(instance.root()).unwrap_or(&file).display().to_string(),
            days_left: (end - now).div_euclid(86_400),
            expires: jiff::Timestamp::from_second(end).map(api::time::seconds).unwrap_or_default(),
            authority,
            is_authority,
        })
        .collect();
    found.sort_by(|a, b| (a.days_left, &a.file).cmp(&(b.days_left, &b.file)));
    found
}
