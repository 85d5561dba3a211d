//! One table of the kernel, and what is wanted of it.

use std::time::Duration;

use sys::nft::Ruleset;
use tokio::time::{Instant, sleep};

use crate::table::Table;

/// After a transaction that failed in full, the next attempt waits, longer each time.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Keeps one table in step with what is wanted.
pub(crate) struct Sync<R> {
    ruleset: R,
    name: String,
    frame: fn(&str) -> String,
    /// What the kernel has; none when that is not known.
    applied: Option<Table>,
    wait: Duration,
}

impl<R: Ruleset> Sync<R> {
    pub(crate) fn new(ruleset: R, name: String, frame: fn(&str) -> String) -> Self {
        Self { ruleset, name, frame, applied: None, wait: RETRY.0 }
    }

    /// A first script, before anything is known.
    pub(crate) async fn begin(&self, script: impl FnOnce(&str) -> String) -> sys::Result<()> {
        self.ruleset.apply(script(&self.name)).await
    }

    /// [`Self::apply`]; a failure is told of, and waited after: look anew then.
    pub(crate) async fn attempt(&mut self, wanted: Table) -> bool {
        let start = Instant::now();
        match self.apply(wanted).await {
            Ok(()) => {
                self.wait = RETRY.0;
                tracing::debug!(table = self.name, took = ?start.elapsed(), "rules are in step");
                true
            }
            Err(error) => {
                tracing::error!(table = self.name, %error, retry_in = ?self.wait, "rules cannot be applied");
                sleep(self.wait).await;
                self.wait = (self.wait * 2).min(RETRY.1);
                false
            }
        }
    }

    /// Applies the difference; when that fails, or nothing is known yet, everything.
    pub(crate) async fn apply(&mut self, wanted: Table) -> sys::Result<()> {
        if let Some(applied) = &self.applied {
            let script = wanted.change_from(applied, &self.name);
            if script.is_empty() {
                return Ok(());
            }
            match self.ruleset.apply(script).await {
                Ok(()) => {
                    self.applied = Some(wanted);
                    return Ok(());
                }
                Err(error) => tracing::warn!(%error, "a change of rules failed: rebuilding them"),
            }
        }
        self.applied = None;
        self.ruleset.apply(wanted.rebuild(self.frame, &self.name)).await?;
        self.applied = Some(wanted);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sys::nft::Recording;

    use super::*;

    fn sync() -> (Arc<Recording>, Sync<Arc<Recording>>) {
        let recording = Arc::new(Recording::default());
        (recording.clone(), Sync::new(recording, "a_b_proxy".into(), crate::rules::frame))
    }

    fn table(chain: &str) -> Table {
        let mut table = Table::default();
        table.chain(chain, vec!["accept".into()]);
        table
    }

    #[tokio::test]
    async fn first_everything_then_differences() {
        let (recording, mut sync) = sync();
        sync.apply(table("a")).await.unwrap();
        sync.apply(table("a")).await.unwrap();
        sync.apply(table("b")).await.unwrap();
        let scripts = recording.scripts();
        assert_eq!(scripts.len(), 2);
        assert!(scripts[0].starts_with("add table ip a_b_proxy\ndelete table ip a_b_proxy\n"));
        assert!(!scripts[1].contains("delete table"));
    }

    #[tokio::test]
    async fn a_failed_difference_is_rebuilt_in_full() {
        let (recording, mut sync) = sync();
        sync.apply(table("a")).await.unwrap();
        recording.refuse(1);
        sync.apply(table("b")).await.unwrap();
        assert!(recording.scripts()[1].contains("delete table ip a_b_proxy"));
        recording.refuse(2);
        assert!(sync.apply(table("c")).await.is_err());
        sync.apply(table("c")).await.unwrap();
        assert!(recording.scripts()[2].contains("delete table"));
    }
}
