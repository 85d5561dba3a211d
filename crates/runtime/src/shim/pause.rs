//! The first process of a PID namespace that the containers of a pod share: it does nothing but collect orphans.

use std::io;
use std::os::unix::net::UnixStream;
use std::process::Command;

use super::helper::Job;
use super::protocol::{self, Reply};

/// Makes the namespace, starts [`pause`] in it, reports its id.
pub(crate) fn sandbox(job: &str) -> io::Result<()> {
    let job: Job = serde_json::from_str(job)?;
    let report = UnixStream::from(sys::fd::adopt(job.report)?);
    let started = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWPID)
        .map_err(io::Error::from)
        .and_then(|()| Command::new("/proc/self/exe").args(["shim", "pause"]).spawn());
    let reply = match started {
        Ok(child) => Reply::Started { pid: i32::try_from(child.id()).unwrap_or_default() },
        Err(e) => Reply::Failed { message: format!("making the pod's PID namespace: {e}") },
    };
    sys::fd::send(&report, &protocol::encode(&reply)?, &[])?;
    Ok(())
}

/// Waits for children and for the order to end.
pub(crate) fn pause() -> io::Result<()> {
    use nix::sys::signal::{SigSet, Signal};
    let mut set = SigSet::empty();
    [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT].into_iter().for_each(|signal| set.add(signal));
    set.thread_block()?;
    loop {
        while sys::process::reap()?.is_some() {}
        if set.wait()? != Signal::SIGCHLD {
            return Ok(());
        }
    }
}
