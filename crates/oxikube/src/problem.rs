//! What goes wrong, in one sentence: what happened, to what, and what to do.

use std::fmt::Display;
use std::path::Path;

/// A failure that ends a command.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Problem(pub(crate) String);

impl Problem {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Turns any error into a sentence about what was being done.
pub(crate) trait During<T> {
    fn during(self, what: impl Display) -> Result<T, Problem>;
}

impl<T, E: Display> During<T> for Result<T, E> {
    fn during(self, what: impl Display) -> Result<T, Problem> {
        self.map_err(|e| Problem(format!("{what}: {e}")))
    }
}

/// A sentence about a file.
pub(crate) fn file(path: &Path, error: &std::io::Error) -> Problem {
    let hint = match error.kind() {
        std::io::ErrorKind::PermissionDenied => "; run as root, or choose another with --data-dir",
        std::io::ErrorKind::StorageFull => "; make room on that disk",
        _ => "",
    };
    Problem(format!("cannot use {}: {error}{hint}", path.display()))
}
