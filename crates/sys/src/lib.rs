//! Kernel interfaces: mounts, cgroups, namespaces, network links, packet filter, processes, descriptors.
//!
//! The only crate with `unsafe` in it. Knows nothing of containers or Kubernetes: paths, names and numbers in,
//! results out. What callers want to fake in tests is behind a small trait (see [`nft::Ruleset`]).
#![allow(unsafe_code)]

pub mod cgroup;
pub mod conntrack;
pub mod devices;
pub mod fd;
pub mod file;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod nft;
pub mod process;
pub mod terminal;
pub mod xattr;

use std::io;
use std::path::Path;

/// A kernel operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {subject}: {source}")]
pub struct SysError {
    /// What was being done, such as `mount`.
    pub operation: &'static str,
    /// To what.
    pub subject: String,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

impl SysError {
    /// Names the operation and its subject for an error of the kernel.
    pub fn new(operation: &'static str, subject: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self { operation, subject: subject.into(), source: source.into() }
    }

    pub(crate) fn at(operation: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::new(operation, path.display().to_string(), source)
    }
}

/// Result of a kernel operation.
pub type Result<T> = std::result::Result<T, SysError>;
