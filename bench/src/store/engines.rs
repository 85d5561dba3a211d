//! The engines behind one small interface.

use std::path::Path;

use storage::embedded::{Embedded, Options};
use storage::{Durability, ListOptions, Revision, Store, Write};

use super::load::Put;
use crate::failure::Failure;

/// The engines that are built in.
pub(crate) const NAMES: &[&str] = &[
    "oxikube",
    #[cfg(feature = "engines")]
    "redb",
    #[cfg(feature = "engines")]
    "fjall",
    #[cfg(feature = "engines")]
    "sqlite",
];

/// A key-value store on disk.
pub(crate) trait Engine: Send {
    /// Writes all of these; durable when it returns.
    fn commit(&mut self, puts: Vec<Put>) -> Result<(), Failure>;
    /// Reads every value; how many there are.
    fn read_all(&self) -> Result<usize, Failure>;
}

pub(crate) fn open(name: &str, path: &Path) -> Result<Box<dyn Engine>, Failure> {
    match name {
        "oxikube" => Ok(Box::new(Own::open(path)?)),
        #[cfg(feature = "engines")]
        "redb" => Ok(Box::new(foreign::Redb::open(path)?)),
        #[cfg(feature = "engines")]
        "fjall" => Ok(Box::new(foreign::Fjall::open(path)?)),
        #[cfg(feature = "engines")]
        "sqlite" => Ok(Box::new(foreign::Sqlite::open(path)?)),
        _ => Err(Failure::Other(format!("no engine {name}"))),
    }
}

/// Ours, with compare-and-swap and history as the API server uses it. It batches behind its own queue.
struct Own {
    store: Embedded,
    runtime: tokio::runtime::Runtime,
    revisions: std::collections::HashMap<String, Revision>,
}

impl Own {
    fn open(path: &Path) -> Result<Self, Failure> {
        let store = Embedded::open(path, &Options::default()).map_err(|e| e.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(Self { store, runtime, revisions: std::collections::HashMap::new() })
    }
}

impl Engine for Own {
    fn commit(&mut self, puts: Vec<Put>) -> Result<(), Failure> {
        let writes = puts.into_iter().map(|(key, value)| {
            let expected = self.revisions.get(&key).copied();
            let write = Write {
                key: key.as_str().into(),
                value: Some(value),
                expected,
                durability: Durability::Durable,
                ttl_seconds: None,
            };
            let store = &self.store;
            async move { store.write(write).await.map(|(_, revision)| (key, revision)) }
        });
        let all = join_all(writes.collect());
        for done in self.runtime.block_on(all) {
            let (key, revision) = done.map_err(|e| e.to_string())?;
            self.revisions.insert(key, revision);
        }
        Ok(())
    }

    fn read_all(&self) -> Result<usize, Failure> {
        let page = self.store.tree().list(&ListOptions::default()).map_err(|e| e.to_string())?;
        Ok(page.entries.iter().filter(|e| !e.value.is_empty()).count())
    }
}

/// Drives all of them at once on this thread.
async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.into_iter().map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(|context| {
        for (future, output) in &mut waiting {
            if output.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *output = Some(value);
            }
        }
        if waiting.iter().all(|(_, output)| output.is_some()) {
            return std::task::Poll::Ready(());
        }
        std::task::Poll::Pending
    })
    .await;
    waiting.into_iter().filter_map(|(_, output)| output).collect()
}

#[cfg(feature = "engines")]
mod foreign;
