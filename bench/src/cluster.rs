//! The measured cluster: one server in the foreground, with a data directory of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::api::Api;
use crate::failure::Failure;
use crate::processes;

/// A cluster.
pub(crate) struct Cluster {
    binary: PathBuf,
    directory: PathBuf,
    name: String,
    /// The container engine, when it is not the native one.
    pub(crate) endpoint: Option<String>,
    server: Option<Child>,
}

impl Cluster {
    pub(crate) fn new(binary: &Path, name: &str) -> Result<Self, Failure> {
        let binary = binary.canonicalize().map_err(|e| format!("{}: {e}", binary.display()))?;
        Ok(Self {
            binary,
            directory: std::env::temp_dir().join(name),
            name: name.to_owned(),
            endpoint: None,
            server: None,
        })
    }

    /// Starts the server; returns when the process was started.
    pub(crate) fn start(&mut self) -> Result<Instant, Failure> {
        self.start_with(&[])
    }

    /// The same with more arguments.
    pub(crate) fn start_with(&mut self, more: &[&str]) -> Result<Instant, Failure> {
        self.launch(&[&["--hostname-override=node-1"], more].concat())
    }

    /// Starts a server whose nodes get their names from the instance.
    pub(crate) fn launch(&mut self, more: &[&str]) -> Result<Instant, Failure> {
        std::fs::create_dir_all(&self.directory)?;
        let log = std::fs::File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new(&self.binary);
        command.arg("server").arg(format!("--name={}", self.name));
        command.arg("--data-dir").arg(&self.directory).args(more);
        command.args(self.endpoint.iter().map(|endpoint| format!("--container-runtime-endpoint={endpoint}")));
        let start = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0).spawn()?;
        self.server = Some(child);
        Ok(start)
    }

    /// Stops the server; containers go on.
    pub(crate) async fn stop(&mut self) -> Result<(), Failure> {
        let Some(mut child) = self.server.take() else { return Ok(()) };
        if let Some(pid) = child.id() {
            kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM).map_err(std::io::Error::from)?;
        }
        match tokio::time::timeout(Duration::from_secs(20), child.wait()).await {
            Ok(status) => drop(status?),
            Err(_) => child.kill().await?,
        }
        Ok(())
    }

    /// The API, as soon as its kubeconfig is there.
    pub(crate) async fn api(&self) -> Result<Api, Failure> {
        let path = self.directory.join("admin.kubeconfig");
        until("admin.kubeconfig", async || Api::from_kubeconfig(&path)).await
    }

    /// A folder that goes with the cluster.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, Failure> {
        let folder = self.directory.join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Runs a command of the binary on this cluster; tells what it says.
    pub(crate) async fn oxikube(&self, arguments: &[&str]) -> Result<String, Failure> {
        said(Command::new(&self.binary).env("OXIKUBE_DATA_DIR", &self.directory).args(arguments)).await
    }

    /// Process id of what runs on another machine of this cluster.
    pub(crate) fn machine_process(&self, machine: &str) -> Result<i32, Failure> {
        let text = std::fs::read_to_string(self.directory.join("nodes").join(machine).join("run/server.json"))?;
        let record: serde_json::Value = serde_json::from_str(&text)?;
        let pid = record.get("pid").and_then(serde_json::Value::as_i64).and_then(|pid| i32::try_from(pid).ok());
        pid.ok_or_else(|| Failure::Other(format!("{machine} does not say its process")))
    }

    /// Process id of the control plane on a machine.
    pub(crate) fn master_process(&self, machine: &str) -> Result<i32, Failure> {
        let data = self.directory.join("nodes").join(machine).join("master").display().to_string();
        let found = processes::of_binary(&self.binary).into_iter().find(|pid| processes::has_argument(*pid, &data));
        found.ok_or_else(|| Failure::Other(format!("{machine} runs no master")))
    }

    /// Process id of the server.
    pub(crate) fn server(&self) -> Option<i32> {
        self.server.as_ref().and_then(Child::id).map(u32::cast_signed)
    }

    /// The processes of pods, without the containers' own.
    pub(crate) fn shims(&self) -> Vec<i32> {
        let server = self.server();
        let all = processes::of_binary(&self.binary).into_iter();
        all.filter(|pid| Some(*pid) != server && processes::has_argument(*pid, &self.name)).collect()
    }

    /// Ends everything and removes the data.
    pub(crate) async fn purge(&mut self) -> Result<(), Failure> {
        if !self.directory.exists() {
            return Ok(());
        }
        // 'down' waits until the process is gone, which a child is only when somebody has waited for it.
        let server = self.server.take();
        let gone = async move {
            match server {
                Some(mut child) => tokio::time::timeout(Duration::from_secs(60), child.wait()).await.map(drop),
                None => Ok(()),
            }
        };
        let (down, gone) = tokio::join!(self.oxikube(&["down", "--purge"]), gone);
        down?;
        gone.map_err(|_| Failure::Late("the server's end".into()))?;
        match std::fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The last lines of the log, for whoever has to find out what went wrong.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("bench.log")
    }
}

/// What a command says.
pub(crate) async fn said(command: &mut Command) -> Result<String, Failure> {
    let output = command.stdin(Stdio::null()).output().await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(Failure::Other(format!("{:?}: {}", command.as_std(), words.trim())))
}

/// Tries every two milliseconds, for a minute at most.
pub(crate) async fn until<T>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(failure) if Instant::now() > end => return Err(Failure::Late(format!("{what} ({failure})"))),
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
}
