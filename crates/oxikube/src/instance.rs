//! A data directory and the server that owns it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use cluster::node::{NodeFiles, NodeSettings};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::compose::Endpoint;
use crate::master::Master;
use crate::problem::{Problem, file};

/// Format of the data directory.
const FORMAT: u32 = 1;

/// The folders and files of an instance.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    root: PathBuf,
}

/// What a running server says about itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) pid: i32,
    pub(crate) name: String,
    pub(crate) api_port: u16,
    pub(crate) node: String,
    /// Seconds since the epoch.
    pub(crate) started: i64,
}

/// State of an instance's server.
pub(crate) enum State {
    /// Runs.
    Up(Running),
    /// Ended without saying so.
    Crashed(Running),
    /// Was stopped, or never ran.
    Stopped,
}

/// The right to be this instance's server; given back when the process ends, however it ends.
pub(crate) struct Ownership {
    _lock: Flock<File>,
    root: PathBuf,
    record: PathBuf,
}

impl Instance {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: std::path::absolute(root).unwrap_or_else(|_| root.to_owned()) }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.path("admin.kubeconfig")
    }

    /// Makes the folders and takes the lock.
    pub(crate) fn own(&self) -> Result<Ownership, Problem> {
        for (folder, mode) in
            [("", 0o755), ("run", 0o700), ("pki", 0o700), ("store", 0o700), ("logs", 0o750), ("kubelet", 0o750)]
        {
            let path = if folder.is_empty() { self.root.clone() } else { self.path(folder) };
            fs::DirBuilder::new().recursive(true).mode(mode).create(&path).map_err(|e| file(&path, &e))?;
        }
        let lock = self.lock()?.ok_or_else(|| {
            Problem::new(format!(
                "another server already runs on {}; see 'oxikube status' or choose another --data-dir",
                self.root.display()
            ))
        })?;
        self.check_format()?;
        Ok(Ownership { _lock: lock, root: self.root.clone(), record: self.path("run/server.json") })
    }

    /// The lock; none when somebody else holds it.
    fn lock(&self) -> Result<Option<Flock<File>>, Problem> {
        let path = self.path("lock");
        let opened = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let handle = opened.map_err(|e| file(&path, &e))?;
        match Flock::lock(handle, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(file(&path, &error.into())),
        }
    }

    fn check_format(&self) -> Result<(), Problem> {
        let path = self.path("VERSION");
        match fs::read_to_string(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => replace(&path, &format!("{FORMAT}\n")),
            Err(e) => Err(file(&path, &e)),
            Ok(text) => match text.trim().parse::<u32>() {
                Ok(format) if format <= FORMAT => Ok(()),
                Ok(format) => Err(Problem::new(format!(
                    "{} was written by a newer version (format {format}, this one knows {FORMAT}); use that version",
                    self.root.display()
                ))),
                Err(_) => Err(Problem::new(format!(
                    "{} does not hold a number; is this an oxikube data directory?",
                    path.display()
                ))),
            },
        }
    }

    /// Keeps the instance's name, so that `down` finds what it left on the host even after a stop.
    pub(crate) fn keep_name(&self, name: &str) -> Result<(), Problem> {
        let path = self.path("NAME");
        replace(&path, &format!("{name}\n"))
    }

    /// The name that was kept; none when no server has run here.
    pub(crate) fn name(&self) -> Option<String> {
        self.kept("NAME")
    }

    /// Keeps what the host's node is called: its pods and volumes know it by that name.
    pub(crate) fn keep_node(&self, name: &str) -> Result<(), Problem> {
        replace(&self.path("NODE"), &format!("{name}\n"))
    }

    /// The node's name that was kept; none when there was no node here.
    pub(crate) fn node(&self) -> Option<String> {
        self.kept("NODE")
    }

    fn kept(&self, what: &str) -> Option<String> {
        fs::read_to_string(self.path(what)).ok().map(|n| n.trim().to_owned()).filter(|n| !n.is_empty())
    }

    /// Keeps which engine runs the pods. Another one than before is refused: it would not know the pods that are there.
    pub(crate) fn keep_engine(&self, engine: &Endpoint) -> Result<(), Problem> {
        let (path, kept) = (self.path("ENGINE"), self.engine()?);
        if path.exists() && kept != *engine {
            return Err(Problem::new(format!(
                "the pods of {} are run by the engine {kept}; take them down with 'oxikube down' before using {engine}",
                self.root.display()
            )));
        }
        replace(&path, &format!("{engine}\n"))
    }

    /// The engine that was kept.
    pub(crate) fn engine(&self) -> Result<Endpoint, Problem> {
        let path = self.path("ENGINE");
        match fs::read_to_string(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Endpoint::Native),
            Err(e) => Err(file(&path, &e)),
            Ok(text) => text.trim().parse().map_err(|e| Problem::new(format!("{}: {e}", path.display()))),
        }
    }

    /// No pod is left: any engine may be next.
    pub(crate) fn forget_engine(&self) -> Result<(), Problem> {
        let path = self.path("ENGINE");
        match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(file(&path, &e)),
            _ => Ok(()),
        }
    }

    /// What the node of this directory is told, as far as that is written down.
    pub(crate) fn node_settings(&self) -> Result<NodeSettings, Problem> {
        let written = NodeFiles::new(&self.root).settings().map_err(|e| Problem::new(e.to_string()))?;
        let mut settings =
            written.unwrap_or_else(|| NodeSettings::new(&self.name().unwrap_or_else(|| "oxikube".to_owned()), ""));
        if let Some(master) = Master::read(self)? {
            settings.cgroup = master.cgroup;
        }
        Ok(settings)
    }

    /// Whether the server runs, was stopped, or crashed.
    pub(crate) fn state(&self) -> Result<State, Problem> {
        let path = self.path("run/server.json");
        let mut text = String::new();
        match File::open(&path).and_then(|mut f| f.read_to_string(&mut text)) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(State::Stopped),
            Err(e) => return Err(file(&path, &e)),
            Ok(_) => {}
        }
        let running: Running = serde_json::from_str(&text)
            .map_err(|e| Problem::new(format!("{} cannot be read: {e}; remove it", path.display())))?;
        Ok(if self.lock()?.is_some() { State::Crashed(running) } else { State::Up(running) })
    }
}

/// The right to an instance's name on this host (in this network namespace), where bridge, tables and cgroups carry it.
pub(crate) fn claim_name(name: &str) -> Result<UnixListener, Problem> {
    let address = SocketAddr::from_abstract_name(format!("oxikube/{name}"));
    let claimed = address.and_then(|address| UnixListener::bind_addr(&address));
    claimed.map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => Problem::new(format!(
            "an instance called '{name}' already runs on this machine over another data directory; choose another with --name"
        )),
        _ => Problem::new(format!("cannot claim the name '{name}': {e}")),
    })
}

/// Writes a file so that whoever reads it, even after a power cut, sees all of the new text or all of the old.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), Problem> {
    let temporary = path.with_extension("tmp");
    let written = File::create(&temporary)
        .and_then(|mut f| f.write_all(text.as_bytes()).and_then(|()| f.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|e| file(path, &e))
}

impl Ownership {
    /// Writes down that the server runs.
    pub(crate) fn record(&self, running: &Running) -> Result<(), Problem> {
        let text = serde_json::to_string_pretty(running).unwrap_or_default();
        replace(&self.record, &text)
    }

    /// Writes down that it was stopped on purpose.
    pub(crate) fn release(self) -> Result<(), Problem> {
        match fs::remove_file(&self.record) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(file(&self.record, &e)),
            _ => Ok(()),
        }
    }

    /// Removes everything. What tells that the directory is ours goes last, so that this can be tried again.
    pub(crate) fn purge(self) -> Result<(), Problem> {
        let entries = fs::read_dir(&self.root).map_err(|e| file(&self.root, &e))?;
        for entry in entries {
            let path = entry.map_err(|e| file(&self.root, &e))?.path();
            if path.file_name().is_some_and(|name| name == "VERSION") {
                continue;
            }
            let folder = path.is_dir() && !path.is_symlink();
            let removed = if folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(|e| file(&path, &e))?;
        }
        match fs::remove_dir_all(&self.root) {
            // All in it is gone; the directory itself is where a disk of its own is mounted.
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => Ok(()),
            outcome => outcome.map_err(|e| file(&self.root, &e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> Running {
        Running { pid: 1, name: "t".into(), api_port: 1, node: "n".into(), started: 0 }
    }

    fn folder() -> PathBuf {
        std::env::temp_dir().join(format!("oxikube-instance-{}-{:?}", std::process::id(), std::thread::current().id()))
    }

    #[test]
    fn a_crash_is_told_from_a_stop() {
        let root = folder();
        let instance = Instance::new(&root);
        let own = instance.own().unwrap();
        own.record(&running()).unwrap();
        assert!(matches!(instance.state(), Ok(State::Up(_))));
        assert!(instance.own().is_err(), "one server a directory");
        drop(own);
        assert!(matches!(instance.state(), Ok(State::Crashed(_))));
        instance.own().unwrap().release().unwrap();
        assert!(matches!(instance.state(), Ok(State::Stopped)));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn pods_keep_their_engine() {
        let root = folder().join("engine");
        let instance = Instance::new(&root);
        drop(instance.own().unwrap());
        let other: Endpoint = "/run/containerd/containerd.sock".parse().unwrap();
        instance.keep_engine(&other).unwrap();
        instance.keep_engine(&other).unwrap();
        assert_eq!(instance.engine().unwrap(), other);
        assert!(instance.keep_engine(&Endpoint::Native).unwrap_err().0.contains("oxikube down"));
        instance.forget_engine().unwrap();
        instance.keep_engine(&Endpoint::Native).unwrap();
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_name_belongs_to_one_server() {
        let name = format!("test-{}", std::process::id());
        let claimed = claim_name(&name).unwrap();
        assert!(claim_name(&name).err().unwrap().0.contains("already runs"));
        drop(claimed);
        assert!(claim_name(&name).is_ok());
    }

    #[test]
    fn data_of_a_newer_version_is_refused() {
        let root = folder().join("newer");
        let instance = Instance::new(&root);
        drop(instance.own().unwrap());
        fs::write(root.join("VERSION"), "99\n").unwrap();
        assert!(instance.own().err().unwrap().0.contains("newer version"));
        fs::remove_dir_all(root).unwrap();
    }
}
