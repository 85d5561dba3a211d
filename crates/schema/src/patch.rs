//! The patch formats.

mod json;
mod merge;
mod strategic;

pub use json::json_patch;
pub use merge::merge_patch;
pub use strategic::strategic_merge;

/// Why a patch cannot be applied, in upstream's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself is not well formed.
    #[error("{0}")]
    Malformed(String),
    /// The patch is well formed but does not fit the object (a failed test, a missing path).
    #[error("{0}")]
    Unprocessable(String),
    /// Too many operations.
    #[error("The allowed maximum operations in a JSON patch is {limit}, got {got}")]
    TooManyOperations {
        /// Most that are allowed.
        limit: usize,
        /// How many there are.
        got: usize,
    },
}
