//! The short-lived processes in which libcontainer works: each is given a job as JSON, does it, reports, and ends.
//!
//! A helper's standard streams are the container's own. What it has to say goes over a socket that it inherits.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use serde::{Deserialize, Serialize};

use super::devices;
use super::protocol::{self, Reply};
use super::reasons::Reasons;

/// What a helper is to do.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Number of the inherited socket to report on.
    pub report: i32,
    /// The sandbox's directory.
    pub pod: PathBuf,
    /// Container.
    pub id: String,
    /// File with the OCI process, for a command.
    pub process: Option<PathBuf>,
    /// Make a terminal, and send its master end with the report.
    pub tty: bool,
    /// See [`protocol::Start::oom_score_adj`].
    pub oom_score_adj: Option<i64>,
}

/// Where libcontainer keeps its own records.
pub(crate) fn state_root(pod: &Path) -> PathBuf {
    pod.join("state")
}

/// Creates and starts a container.
pub(crate) fn create(job: &str) -> io::Result<()> {
    run(job, |job, console| {
        if let Some(score) = job.oom_score_adj {
            // Lowering it takes a privilege that the node may not have; the container runs all the same.
            drop(std::fs::write("/proc/self/oom_score_adj", score.to_string()));
        }
        let builder = ContainerBuilder::new(job.id.clone(), SyscallType::default())
            .with_root_path(state_root(&job.pod))
            .map_err(described)?
            .with_console_socket(console);
        let bundle = job.pod.join("containers").join(&job.id);
        let built = builder.as_init(&bundle).with_systemd(false).with_detach(true).build();
        let mut container = built.map_err(described)?;
        devices::restrict(&bundle)?;
        container.start().map_err(described)?;
        container.pid().map(|pid| pid.as_raw()).ok_or_else(|| "the container has no process".to_owned())
    })
}

/// Runs a command in a container.
pub(crate) fn exec(job: &str) -> io::Result<()> {
    run(job, |job, console| {
        let builder = ContainerBuilder::new(job.id.clone(), SyscallType::default())
            .with_root_path(state_root(&job.pod))
            .map_err(described)?
            .with_console_socket(console);
        let tenant = builder.as_tenant().with_detach(true).with_env(HashMap::new());
        let pid = tenant.with_process(job.process.clone()).build().map_err(described)?;
        Ok(pid.as_raw())
    })
}

fn run(job: &str, work: impl FnOnce(&Job, Option<PathBuf>) -> Result<i32, String>) -> io::Result<()> {
    let job: Job = serde_json::from_str(job)?;
    let report = UnixStream::from(sys::fd::adopt(job.report)?);
    sys::process::restore_sigpipe()?;
    // A message of a panic must not end up in the container's output.
    std::panic::set_hook(Box::new(|_| {}));
    let reasons = Reasons::collect()?;
    let console = if job.tty { Some(Console::open(&job)?) } else { None };
    let done = work(&job, console.as_ref().map(|console| console.path.clone()));
    let (reply, master) = match (done, console) {
        (Ok(pid), Some(console)) => (Reply::Started { pid }, Some(console.receive()?)),
        (Ok(pid), None) => (Reply::Started { pid }, None),
        (Err(message), _) => {
            let cause = reasons.first().filter(|cause| !message.contains(cause.as_str()));
            let message = cause.map_or(message.clone(), |cause| format!("{message}: {cause}"));
            (Reply::Failed { message }, None)
        }
    };
    let fds: Vec<_> = master.iter().map(AsRawFd::as_raw_fd).collect();
    sys::fd::send(&report, &protocol::encode(&reply)?, &fds)?;
    Ok(())
}

/// The socket on which libcontainer hands over a terminal's master end.
struct Console {
    directory: PathBuf,
    path: PathBuf,
    listener: std::os::unix::net::UnixListener,
}

impl Console {
    fn open(job: &Job) -> io::Result<Self> {
        let directory = job.pod.join(format!("console-{}", std::process::id()));
        std::fs::create_dir(&directory)?;
        let listener = sys::fd::listen(&directory, "s")?;
        Ok(Self { path: directory.join("s"), directory, listener })
    }

    fn receive(&self) -> io::Result<OwnedFd> {
        let (socket, _) = self.listener.accept()?;
        let (_, fds) = sys::fd::receive(&socket, &mut [0; 4096])?;
        fds.into_iter().next().ok_or_else(|| io::Error::other("no terminal came"))
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

/// An error with its causes: libcontainer's outermost words alone say little.
fn described(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
