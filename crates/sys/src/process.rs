//! Processes: detaching, reaping, signals, who is at the other end of a socket.

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, kill as send_signal, signal};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, setsid};

/// A child that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Its process id.
    pub pid: i32,
    /// Its exit code; 128 and the signal's number when a signal ended it.
    pub code: i32,
}

/// Which side of [`daemonize`] this is.
#[derive(Debug, PartialEq, Eq)]
pub enum Side {
    /// The process that was started; it should exit now.
    Starter,
    /// The one that stays, in a session of its own.
    Daemon,
}

/// Leaves the caller's session and parent. Only for a process with a single thread.
pub fn daemonize() -> io::Result<Side> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("only a process with one thread can become a daemon"));
    }
    // SAFETY: there is no other thread that could hold a lock, so the child may use everything that the parent could.
    match unsafe { fork() }? {
        ForkResult::Parent { .. } => Ok(Side::Starter),
        ForkResult::Child => {
            setsid()?;
            Ok(Side::Daemon)
        }
    }
}

/// Orphans below this process become its children.
pub fn become_subreaper() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// Programs executed from here end on a closed pipe again, as they expect to.
pub fn restore_sigpipe() -> io::Result<()> {
    // SAFETY: setting the default action runs no code of ours in signal context.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
    Ok(())
}

/// Collects one child that has ended, if there is one.
pub fn reap() -> io::Result<Option<Exit>> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => return Ok(Some(Exit { pid: pid.as_raw(), code })),
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                return Ok(Some(Exit { pid: pid.as_raw(), code: 128 + signal as i32 }));
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Sends a signal; a process that is gone already is success.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    let signal = Signal::try_from(signal)?;
    match send_signal(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// User id of the process at the other end of a unix socket.
pub fn peer_uid(socket: &impl AsFd) -> io::Result<u32> {
    Ok(getsockopt(socket, PeerCredentials)?.uid())
}

/// A descriptor that becomes readable when the process ends.
pub fn pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: a plain system call on integers.
    let raw = unsafe { nix::libc::syscall(nix::libc::SYS_pidfd_open, pid, 0) };
    let raw = i32::try_from(Errno::result(raw)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Waits until a process, which need not be a child, has ended.
pub async fn ended(pid: i32) -> io::Result<()> {
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;
    let handle = match pidfd(pid) {
        Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => return Ok(()),
        handle => handle?,
    };
    // SAFETY: the descriptor is given away and closed by nobody but its new owner.
    let watched = unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE) };
    let watched = watched.map_err(|e| io::Error::other(e.to_string()))?;
    watched.readable().await.map(drop)
}

/// Waits at most `milliseconds` for the process behind a [`pidfd`] to end; false when it still runs.
pub fn wait_pidfd(pidfd: &OwnedFd, milliseconds: u16) -> io::Result<bool> {
    use nix::poll::{PollFd, PollFlags, poll};
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut fds, milliseconds)? > 0)
}

/// The process whose command line has all of these words, if there is one.
pub fn with_arguments(wanted: &[&str]) -> io::Result<Option<i32>> {
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has just ended, or a zombie, has none.
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        if wanted.iter().all(|word| words.contains(&word.as_bytes())) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

/// The kernel's start time of a process, which tells it from a later one with the same id. One that has ended has none, even
/// if its parent has not noticed.
pub fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut words = stat.rsplit_once(')')?.1.split_whitespace();
    let state = words.next()?;
    if matches!(state, "Z" | "X") { None } else { words.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pidfd_tells_the_end_of_a_process() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let handle = pidfd(pid).unwrap();
        assert!(!wait_pidfd(&handle, 0).unwrap());
        assert!(start_time(pid).is_some());
        kill(pid, 9).unwrap();
        assert!(wait_pidfd(&handle, 5000).unwrap());
        assert_eq!(start_time(pid), None, "it waits for its parent only");
        child.wait().unwrap();
    }

    #[test]
    fn a_process_is_found_by_its_words() {
        let mut child = std::process::Command::new("sleep").arg("61.25").spawn().unwrap();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let mut found = None;
        // The kernel shows a new program's words a moment after it has begun.
        while found.is_none() && std::time::Instant::now() < end {
            found = with_arguments(&["61.25", "sleep"]).unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, Some(child.id().cast_signed()));
        assert_eq!(with_arguments(&["61.25", "no-such-word"]).unwrap(), None);
    }

    #[test]
    fn peer_of_a_pair_is_oneself() {
        let (a, _b) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(peer_uid(&a).unwrap(), nix::unistd::geteuid().as_raw());
    }
}
