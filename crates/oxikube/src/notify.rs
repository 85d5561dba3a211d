//! Word to a supervisor that a start is over, as systemd's `Type=notify` units wait for.
//!
//! Specified by <https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html>.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Says that whoever waits for this process need not wait longer. A supervisor that does not listen is no reason to stop.
pub(crate) fn ready() {
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET")
        && let Err(error) = say(&socket, b"READY=1")
    {
        tracing::warn!(%error, socket = %socket.display(), "the supervisor was not told that this is ready");
    }
}

fn say(socket: &OsStr, what: &[u8]) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let sender = UnixDatagram::unbound()?;
    // A supervisor whose queue is full is not waited for.
    sender.set_nonblocking(true)?;
    sender.send_to_addr(what, &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(receiver: &UnixDatagram) -> String {
        receiver.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
        let mut bytes = [0; 32];
        let length = receiver.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn a_supervisor_is_told_at_a_path_and_at_an_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let receiver = UnixDatagram::bind(&path).unwrap();
        say(path.as_os_str(), b"READY=1").unwrap();
        assert_eq!(heard(&receiver), "READY=1");
        let name = format!("oxikube-test-{}", std::process::id());
        let receiver = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        say(OsStr::new(&format!("@{name}")), b"READY=1").unwrap();
        assert_eq!(heard(&receiver), "READY=1");
    }

    #[test]
    fn a_supervisor_that_is_not_there_is_an_error() {
        assert!(say(OsStr::new("/nowhere/notify"), b"READY=1").is_err());
    }
}
