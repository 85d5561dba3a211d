//! Another machine beside the cluster's, on the same network.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::{Cluster, Output, binary, collect};
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

    /// A command on the machine.
    pub fn command(&self, program: &str) -> Command {
        self.network.command(program)
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
        if std::thread::panicking()
            && let Ok(log) = std::fs::read_to_string(self.directory.join("logs/node.log"))
        {
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- the node's last words\n{}", lines.split_at(lines.len().saturating_sub(30)).1.join("\n"));
        }
        let reset = self.oxikube(&["reset"]);
        if !reset.ok {
            eprintln!("left behind: {}: {}", self.directory.display(), reset.stderr);
        }
    }
}
