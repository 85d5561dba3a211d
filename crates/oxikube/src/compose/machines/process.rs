//! The processes on a machine, each kept running: a member of etcd, a control plane, a node.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cluster::machines::Machine;
use tokio_util::sync::CancellationToken;

use crate::problem::{During, Problem, file};
use crate::{background, logging};

/// A process that ends is started anew, later each time; one that ran for long starts from the first again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// What others wait for comes back sooner.
const PAUSE_OF_MASTERS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
const LONG: Duration = Duration::from_secs(60);
/// A process that does not end by itself in this time is killed.
const PATIENCE: Duration = Duration::from_secs(10);
/// A member of etcd that leads waits for a successor, and there is none when all end. What it acknowledged is on disk.
const PATIENCE_OF_ETCD: Duration = Duration::from_secs(1);

/// What a process is, in the order in which they start; they stop in the reverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// A member of etcd.
    Etcd,
    /// API server, scheduler and controllers.
    Master,
    /// A node.
    Node,
}

impl Part {
    pub(super) const ALL: [Self; 3] = [Self::Etcd, Self::Master, Self::Node];

    /// Its name, for people and for its log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Master => "master",
            Self::Node => "node",
        }
    }

    /// Its data directory.
    pub(crate) fn directory(self, machine: &Machine) -> PathBuf {
        match self {
            Self::Node => machine.root.clone(),
            other => machine.root.join(other.name()),
        }
    }

    fn pause(self) -> (Duration, Duration) {
        match self {
            Self::Node => PAUSE,
            Self::Etcd | Self::Master => PAUSE_OF_MASTERS,
        }
    }

    /// Asks its process to end, and kills it when it does not.
    pub(crate) async fn end(self, pid: i32) -> Result<(), Problem> {
        background::end(pid, if self == Self::Etcd { PATIENCE_OF_ETCD } else { PATIENCE }).await
    }

    /// Words by which its process is told from all others.
    fn words(self, machine: &Machine) -> Vec<String> {
        let directory = self.directory(machine);
        match self {
            Self::Etcd => vec![cluster::etcd::data_argument(&directory)],
            Self::Master => command("server", &directory),
            Self::Node => command("node", &directory),
        }
    }

    /// The process that does this on a machine now.
    pub(crate) fn running(self, machine: &Machine) -> Result<Option<i32>, Problem> {
        let words = self.words(machine);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        sys::process::with_arguments(&words).during("cannot look for the processes of this machine")
    }
}

/// A command of this program on a data directory.
pub(super) fn command(name: &str, directory: &Path) -> Vec<String> {
    vec![name.to_owned(), "--data-dir".to_owned(), directory.display().to_string()]
}

/// A process that is to run.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) machine: Machine,
    /// Where the machine is made on this one: its network namespace.
    pub(crate) netns: Option<PathBuf>,
    pub(crate) part: Part,
    /// Program and arguments; it is started on the machine.
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
}

impl Process {
    /// Keeps it running until `shutdown`.
    pub(crate) async fn supervise(self, shutdown: CancellationToken) {
        let (first, longest) = self.part.pause();
        let (mut pause, machine, part) = (first, &self.machine.name, self.part.name());
        loop {
            let since = Instant::now();
            match self.live(&shutdown).await {
                Ok(()) if shutdown.is_cancelled() => return,
                Ok(()) => {
                    let last_words = logging::last_line(&self.log());
                    tracing::warn!(machine, part, last_words, "its process ended and is started anew");
                }
                Err(problem) => tracing::error!(machine, part, %problem, "its process cannot be kept running"),
            }
            pause = if since.elapsed() > LONG { first } else { (pause * 2).min(longest) };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One life: from its start, or from finding it alive, to its end.
    async fn live(&self, shutdown: &CancellationToken) -> Result<(), Problem> {
        let failed = "cannot watch the process";
        let (pid, child) = match self.part.running(&self.machine)? {
            Some(pid) => (pid, None),
            None => {
                let child = self.start()?;
                (child.id().cast_signed(), Some(child))
            }
        };
        let ended = tokio::select! {
            ended = sys::process::ended(pid) => ended.during(failed),
            () = shutdown.cancelled() => self.part.end(pid).await,
        };
        if let Some(mut child) = child {
            child.try_wait().during(failed)?;
        }
        ended
    }

    fn log(&self) -> PathBuf {
        self.machine.root.join("logs").join(format!("{}.log", self.part.name()))
    }

    fn start(&self) -> Result<std::process::Child, Problem> {
        let path = self.log();
        let logs = self.machine.root.join("logs");
        fs::create_dir_all(&logs).map_err(|e| file(&logs, &e))?;
        let log = logging::open(&path)?;
        let errors = log.try_clone().map_err(|e| file(&path, &e))?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        let failed = "cannot start the process";
        match &self.netns {
            Some(netns) => sys::namespace::within_net(netns, || command.spawn()).during(failed),
            None => command.spawn().during(failed),
        }
    }
}
