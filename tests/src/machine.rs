//! Another machine beside the cluster's, on the same network.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::{Cluster, Output, binary, collect, kubectl};
use crate::network::Namespace;

/// A machine without anything; what is made on it goes with it.
pub struct Machine {
    network: Namespace,
    directory: PathBuf,
    name: String,
}

impl Machine {
    /// A machine at `198.51.100.LAST`.
    ///
    /// # Panics
    /// When there is no network namespace to be had.
    #[allow(clippy::panic, reason = "a test without its machine has failed")]
    pub fn beside(cluster: &Cluster, last: u8) -> Self {
        let name = format!("{}-{last}", cluster.name());
        let network = Namespace::beside(&name, cluster.name(), last).unwrap_or_else(|e| panic!("{e}"));
        let directory = std::env::temp_dir().join(&name);
        Self { network, directory, name }
    }

    /// Name of the machine.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its data directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file of the network namespace that it is.
    pub fn netns(&self) -> PathBuf {
        self.network.file()
    }

    /// A command on the machine.
    pub fn command(&self, program: &str) -> Command {
        self.network.command(program)
    }

    /// Runs kubectl on it as the administrator, where it is a master.
    ///
    /// # Panics
    /// When it cannot be run at all.
    pub fn kubectl(&self, arguments: &[&str], stdin: Option<&str>) -> Output {
        let mut command = self.command(&kubectl());
        command.env("KUBECONFIG", self.directory.join("admin.kubeconfig")).env("HOME", &self.directory);
        command.args(arguments);
        collect(command, stdin)
    }

    /// Runs oxikube on it.
    ///
    /// # Panics
    /// When it cannot be run at all.
    pub fn oxikube(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(&binary().display().to_string());
        command.env("OXIKUBE_DATA_DIR", &self.directory).args(arguments);
        collect(command, None)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in ["node", "server", "etcd"] {
                let Ok(text) = std::fs::read_to_string(self.directory.join(format!("logs/{log}.log"))) else {
                    continue;
                };
                let lines: Vec<&str> = text.lines().collect();
                let last = lines.split_at(lines.len().saturating_sub(30)).1.join("\n");
                eprintln!("--- last words of {log} on {}\n{last}", self.name);
            }
        }
        let reset = self.oxikube(&["reset", "--force"]);
        if !reset.ok {
            eprintln!("left behind: {}: {}", self.directory.display(), reset.stderr);
        }
    }
}
