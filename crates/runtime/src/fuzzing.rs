//! Doors for the fuzz targets.

use crate::native::images::{archive, store::Store};

/// Imports an archive into a store of its own, which is gone afterwards: it is an image or it is refused.
///
/// # Panics
/// When there is no room for the store.
#[allow(clippy::expect_used, reason = "a fuzz target without a folder to work in cannot go on")]
pub fn archive(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("archive");
    std::fs::write(&file, bytes).expect("the archive can be written");
    let store = Store::open(&folder.path().join("store")).expect("a store can be opened");
    drop(archive::import(&store, &file));
}
