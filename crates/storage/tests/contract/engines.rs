//! The engines under test, and how each of them crashes.

use std::sync::Arc;
use std::time::Duration;

use storage::{Store, embedded, etcd};

/// An engine that can crash.
pub(crate) trait Engine: Send {
    /// A new, empty store.
    fn start() -> Self;
    /// Opens it.
    async fn open(&self) -> Arc<dyn Store>;
    /// Whatever keeps the data ends without warning and is there again.
    fn crash(&mut self);
    /// Whether clients keep their place over a crash.
    const GOES_ON: bool;
}

pub(crate) struct Embedded {
    folder: tempfile::TempDir,
}

impl Engine for Embedded {
    const GOES_ON: bool = false;

    fn start() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    async fn open(&self) -> Arc<dyn Store> {
        let small = embedded::Options { log_bytes: 20_000, ..embedded::Options::default() };
        Arc::new(embedded::Embedded::open(self.folder.path(), &small).unwrap())
    }

    fn crash(&mut self) {}
}

pub(crate) struct Etcd {
    pub(crate) server: tests::Etcd,
}

impl Etcd {
    pub(crate) fn options(&self) -> etcd::Options {
        etcd::Options {
            endpoints: self.server.endpoints(),
            patience: Duration::from_secs(60),
            ..etcd::Options::default()
        }
    }
}

impl Engine for Etcd {
    const GOES_ON: bool = true;

    fn start() -> Self {
        Self { server: tests::Etcd::start(1) }
    }

    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(etcd::Etcd::open(&self.options()).await.unwrap())
    }

    fn crash(&mut self) {
        self.server.kill(0);
        self.server.run(0);
    }
}
