//! Packet filter rules, through the `nft` program (as upstream's proxy drives it). A script is one transaction.

use std::io;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::{Result, SysError};

/// Where rules go. The fake is [`Recording`].
pub trait Ruleset: Send + Sync {
    /// Applies a script in nft's own language, all of it or nothing.
    fn apply(&self, script: String) -> impl Future<Output = Result<()>> + Send;
}

/// The kernel's rules, in the network namespace that the process was started in.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kernel;

impl Ruleset for Kernel {
    async fn apply(&self, script: String) -> Result<()> {
        let failed = |e: io::Error| SysError::new("run", "nft", e);
        let mut command = Command::new("nft");
        command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(script.as_bytes()).await.map_err(failed)?;
        }
        let output = child.wait_with_output().await.map_err(failed)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(failed(io::Error::other(said.lines().next().unwrap_or("it failed without a word").to_owned())))
    }
}

/// Keeps scripts instead of applying them; may be told to refuse.
#[derive(Debug, Default)]
pub struct Recording {
    scripts: std::sync::Mutex<Vec<String>>,
    refuse: std::sync::atomic::AtomicUsize,
}

impl Recording {
    /// What was applied so far.
    pub fn scripts(&self) -> Vec<String> {
        self.scripts.lock().map(|scripts| scripts.clone()).unwrap_or_default()
    }

    /// The next `count` scripts are refused.
    pub fn refuse(&self, count: usize) {
        self.refuse.store(count, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Ruleset for Recording {
    async fn apply(&self, script: String) -> Result<()> {
        use std::sync::atomic::Ordering::SeqCst;
        let refused = self.refuse.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        if refused {
            return Err(SysError::new("run", "nft", io::Error::other("refused")));
        }
        if let Ok(mut scripts) = self.scripts.lock() {
            scripts.push(script);
        }
        Ok(())
    }
}

impl<R: Ruleset> Ruleset for std::sync::Arc<R> {
    async fn apply(&self, script: String) -> Result<()> {
        R::apply(self, script).await
    }
}
