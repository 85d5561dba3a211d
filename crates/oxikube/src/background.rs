//! Starts this program's long-running commands apart from the one that starts them.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::instance::{Instance, State};
use crate::logging;
use crate::problem::{During, Problem, file};

/// A process that this command started.
pub(crate) struct Started {
    command: String,
    child: Child,
    log: PathBuf,
    log_before: u64,
}

/// Starts `oxikube COMMAND`, which owns the directory, and waits until it says that it runs. Its log is
/// `logs/COMMAND.log`.
pub(crate) async fn start(instance: &Instance, command: &str, arguments: &[String]) -> Result<Started, Problem> {
    // Folders first: the log goes into one of them. What one that crashed says of itself is not to be taken for the new one's.
    instance.own()?.release()?;
    let log = instance.path(&format!("logs/{command}.log"));
    let output = logging::open(&log)?;
    let errors = output.try_clone().map_err(|e| file(&log, &e))?;
    let log_before = std::fs::metadata(&log).map_or(0, |m| m.len());
    let mut run = Command::new(std::env::current_exe().during("cannot find this program")?);
    run.arg(command).args(arguments).stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
    let child = run.spawn().during(format!("cannot start the {command}"))?;
    let mut started = Started { command: command.to_owned(), child, log, log_before };
    loop {
        if let Some(status) = started.child.try_wait().during(format!("cannot watch the {command}"))? {
            return Err(started.ended(status));
        }
        if matches!(instance.state()?, State::Up(_)) {
            return Ok(started);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// After SIGKILL only the kernel itself can hold a process.
const KILL_PATIENCE: Duration = Duration::from_secs(30);

/// Asks a process to end, and kills it when it has not after `patience`.
pub(crate) async fn end(pid: i32, patience: Duration) -> Result<(), Problem> {
    let failed = format!("cannot stop process {pid}");
    // One that was stopped (SIGSTOP) hears of it only when it goes on.
    let asked = &[Signal::SIGTERM, Signal::SIGCONT][..];
    for (signals, patience) in [(asked, patience), (&[Signal::SIGKILL], KILL_PATIENCE)] {
        for signal in signals {
            sys::process::kill(pid, *signal as i32).during(&failed)?;
        }
        if let Ok(ended) = tokio::time::timeout(patience, sys::process::ended(pid)).await {
            return ended.during(failed);
        }
    }
    Err(Problem::new(format!("process {pid} does not end")))
}

/// Says when a process that was just started ends; never, without one.
pub(crate) async fn broken(started: Option<Started>) -> Problem {
    let Some(mut started) = started else { return std::future::pending().await };
    loop {
        match started.child.try_wait() {
            Ok(Some(status)) => return started.ended(status),
            Ok(None) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => return Problem::new(format!("cannot watch the process: {error}")),
        }
    }
}

impl Started {
    /// The process's own last words, if it left any.
    fn ended(&self, status: ExitStatus) -> Problem {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let tail = text.get(usize::try_from(self.log_before).unwrap_or(0)..).unwrap_or_default();
        let tail = String::from_utf8_lossy(tail);
        match tail.lines().rev().find_map(|l| l.strip_prefix("oxikube: ")) {
            Some(sentence) => Problem::new(sentence),
            None if is_full(&self.log) => file(&self.log, &std::io::ErrorKind::StorageFull.into()),
            None => Problem::new(format!("the {} ended at once ({status}); see {}", self.command, self.log.display())),
        }
    }
}

/// Whether there is no room left beside a file, so that a process could not even say so.
fn is_full(file: &Path) -> bool {
    const A_SENTENCE: u64 = 64 << 10;
    nix::sys::statvfs::statvfs(file).is_ok_and(|disk| disk.blocks_available() * disk.fragment_size() < A_SENTENCE)
}
