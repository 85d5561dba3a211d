//! The image store: what images there are, and their layers, each unpacked once.

pub(crate) mod archive;
pub(crate) mod pull;
pub(crate) mod reference;
pub(crate) mod store;
pub(crate) mod unpack;

use std::io;
use std::path::PathBuf;

/// Why an image could not be stored, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file of the store.
    #[error("{operation} {path}")]
    File {
        /// What was being done.
        operation: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The archive or image is not what it should be.
    #[error("{0}")]
    Invalid(String),
    /// The registry refused or could not be reached.
    #[error("{0}")]
    Registry(String),
}

impl ImageError {
    pub(crate) fn file(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { operation, path, source }
    }
}
