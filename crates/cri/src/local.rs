//! What a node needs of its engine beside CRI.

use std::path::Path;

use async_trait::async_trait;

use crate::{CriError, Engine};

/// An engine on this machine, as whoever sets a node up uses it.
#[async_trait]
pub trait Local: Engine {
    /// Imports every image of an archive (docker or OCI); answers their ids.
    async fn import(&self, archive: &Path) -> Result<Vec<String>, CriError>;
    /// Lets go of everything; containers run on.
    async fn close(&self);
    /// Stops and removes every pod of this node.
    async fn purge(&self) -> Result<(), CriError>;
}
