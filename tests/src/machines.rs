//! The machines of a cluster with several: what runs on them, cutting them off, ending and stopping their processes.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Cluster;

#[allow(clippy::panic, reason = "a test whose machine cannot be reached has failed")]
impl Cluster {
    /// Name of a machine.
    pub fn machine(&self, number: usize) -> String {
        format!("{}-{number}", self.name())
    }

    /// The file of a machine's network namespace.
    pub fn machine_netns(&self, machine: &str) -> PathBuf {
        self.directory().join("nodes").join(machine).join("netns/net")
    }

    /// Cuts a machine off (`down`), or mends that (`up`).
    ///
    /// # Panics
    /// When there is no such machine.
    pub fn cable(&self, machine: &str, state: &str) {
        let set = self.command("ip").args(["link", "set", machine, state]).status();
        assert!(set.is_ok_and(|s| s.success()), "{machine} has no cable");
    }

    /// Uids of the pods that run on any machine, as often as they do, sorted.
    ///
    /// # Panics
    /// When there are no processes to be seen.
    pub fn running_pods(&self) -> Vec<String> {
        let processes = std::fs::read_dir("/proc").unwrap_or_else(|e| panic!("/proc: {e}"));
        let lines = processes.flatten().filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
        let mut pods: Vec<String> = lines
            .filter_map(|line| {
                let line = String::from_utf8_lossy(&line).into_owned();
                let sandbox = Path::new(line.split_once("\0shim\0serve\0")?.1.split('\0').next()?).to_owned();
                sandbox.starts_with(self.directory()).then(|| pod_of(&sandbox).unwrap_or_default())
            })
            .collect();
        pods.sort_unstable();
        pods
    }

    /// Processes of a machine, by what they are.
    ///
    /// # Panics
    /// When there is no such machine.
    pub fn processes(&self, machine: &str) -> Vec<(String, u64)> {
        let status = self.status();
        let machines = status.get("machines").and_then(Value::as_array);
        let seen = machines.into_iter().flatten().find(|m| m.get("name").is_some_and(|name| name == machine));
        let seen = seen.unwrap_or_else(|| panic!("no {machine} in {status}"));
        let parts = seen.get("processes").and_then(Value::as_object).into_iter().flatten();
        parts.filter_map(|(part, pid)| Some((part.clone(), pid.as_u64()?))).collect()
    }
}

/// The pod whose files the containers of a sandbox have mounted.
fn pod_of(sandbox: &Path) -> Option<String> {
    let mut containers = std::fs::read_dir(sandbox.join("containers")).ok()?.flatten();
    containers.find_map(|container| {
        let config = std::fs::read_to_string(container.path().join("config.json")).ok()?;
        Some(config.split_once("/kubelet/pods/")?.1.split('/').next()?.to_owned())
    })
}

/// Sends a signal to processes.
///
/// # Panics
/// When one of them is not there.
pub fn signal(signal: &str, pids: &[u64]) {
    let sent = Command::new("kill").arg(signal).args(pids.iter().map(u64::to_string)).status();
    assert!(sent.is_ok_and(|s| s.success()), "cannot send {signal} to {pids:?}");
}
