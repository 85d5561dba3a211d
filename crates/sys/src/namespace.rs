//! Namespaces: made and pinned in files, entered for one piece of work.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::sethostname;

use crate::{Result, SysError, mount};

/// A kind of namespace that can live without a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Network devices, addresses, routes.
    Net,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Host name.
    Uts,
}

impl Kind {
    /// The kernel's name of it, as in `/proc/PID/ns`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
        }
    }

    fn flag(self) -> CloneFlags {
        match self {
            Self::Net => CloneFlags::CLONE_NEWNET,
            Self::Ipc => CloneFlags::CLONE_NEWIPC,
            Self::Uts => CloneFlags::CLONE_NEWUTS,
        }
    }
}

/// Makes namespaces and pins each as `directory/KIND`. With a new UTS namespace, `hostname` is set in it;
/// `sysctls` (dotted names) are set inside. Blocks; leaves nothing pinned when it fails.
pub fn pin(kinds: &[Kind], directory: &Path, hostname: &str, sysctls: &[(String, String)]) -> Result<()> {
    fs::create_dir_all(directory).map_err(|e| SysError::at("create", directory, e))?;
    let done = thread::scope(|scope| {
        // A thread of its own: namespaces belong to threads, and this one is thrown away.
        scope.spawn(|| pin_here(kinds, directory, hostname, sysctls)).join()
    });
    let result = done.unwrap_or_else(|_| Err(SysError::at("pin namespaces in", directory, io::Error::other("panic"))));
    if result.is_err() {
        unpin(directory)?;
    }
    result
}

fn pin_here(kinds: &[Kind], directory: &Path, hostname: &str, sysctls: &[(String, String)]) -> Result<()> {
    let flags = kinds.iter().fold(CloneFlags::empty(), |flags, kind| flags | kind.flag());
    unshare(flags).map_err(|e| SysError::at("make namespaces for", directory, e))?;
    if kinds.contains(&Kind::Uts) && !hostname.is_empty() {
        sethostname(hostname).map_err(|e| SysError::new("set host name", hostname, e))?;
    }
    for (name, value) in sysctls {
        set_sysctl(name, value)?;
    }
    for kind in kinds {
        let file = directory.join(kind.name());
        File::create(&file).map_err(|e| SysError::at("create", &file, e))?;
        mount::bind(Path::new(&format!("/proc/thread-self/ns/{}", kind.name())), &file)?;
    }
    Ok(())
}

/// Unpins every namespace in `directory` and removes it.
pub fn unpin(directory: &Path) -> Result<()> {
    for kind in [Kind::Net, Kind::Ipc, Kind::Uts] {
        let file = directory.join(kind.name());
        mount::unmount(&file)?;
    }
    match fs::remove_dir_all(directory) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(SysError::at("remove", directory, e)),
    }
}

/// Sets a kernel parameter (`net.ipv4.ip_forward`) in the namespaces of the calling thread.
pub fn set_sysctl(name: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(name.replace('.', "/"));
    if path.components().any(|part| part == std::path::Component::ParentDir) {
        let cause = io::Error::new(io::ErrorKind::InvalidInput, "not a kernel parameter");
        return Err(SysError::new("set", name, cause));
    }
    fs::write(&path, value).map_err(|e| SysError::new("set", format!("{name}={value}"), e))
}

/// Runs `work` inside a pinned network namespace, on a thread of its own. Blocks.
pub fn within_net<T: Send>(namespace: &Path, work: impl FnOnce() -> io::Result<T> + Send) -> Result<T> {
    let file = File::open(namespace).map_err(|e| SysError::at("open namespace", namespace, e))?;
    let done = thread::scope(|scope| {
        let inside = || {
            setns(&file, CloneFlags::CLONE_NEWNET)?;
            work()
        };
        scope.spawn(inside).join()
    });
    done.unwrap_or_else(|_| Err(io::Error::other("panic"))).map_err(|e| SysError::at("work inside", namespace, e))
}

/// Whether a namespace is pinned in this file. A restart of the machine leaves the file and takes the namespace.
pub fn is_pinned(file: &Path) -> bool {
    use nix::sys::statfs::{FsType, statfs};
    /// The kernel's number of the file system that namespaces live in.
    const NSFS: FsType = FsType(0x6e73_6673);
    statfs(file).is_ok_and(|found| found.filesystem_type() == NSFS)
}

/// Moves the calling thread into a pinned network namespace; threads that it starts later are in it, too. Meant for the
/// only thread of a process that has just begun.
pub fn enter_net(namespace: &Path) -> Result<()> {
    let file = File::open(namespace).map_err(|e| SysError::at("open namespace", namespace, e))?;
    setns(&file, CloneFlags::CLONE_NEWNET).map_err(|e| SysError::at("enter namespace", namespace, e))
}
