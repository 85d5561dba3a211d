//! File descriptors: sent over sockets, terminals, pipes.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;

use nix::cmsg_space;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// Most descriptors in one message.
pub const MAX_FDS: usize = 4;

mod request {
    nix::ioctl_write_ptr_bad!(
        /// Sets a terminal's size.
        set_size,
        nix::libc::TIOCSWINSZ,
        nix::libc::winsize
    );
}

/// Writes bytes with descriptors attached; answers how many bytes went.
pub fn send(socket: &impl AsFd, bytes: &[u8], fds: &[RawFd]) -> io::Result<usize> {
    let rights = [ControlMessage::ScmRights(fds)];
    let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
    let flags = MsgFlags::MSG_NOSIGNAL;
    Ok(sendmsg::<()>(socket.as_fd().as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None)?)
}

/// Reads bytes and the descriptors that came with them (closed on exec).
pub fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = cmsg_space!([RawFd; MAX_FDS]);
    let mut slices = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut slices, Some(&mut space), flags)?;
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            // SAFETY: the kernel has just made these descriptors for us; nobody else knows their numbers.
            fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok((message.bytes, fds))
}

/// Sets the size of a terminal.
pub fn resize(terminal: &impl AsFd, columns: u16, rows: u16) -> io::Result<()> {
    let size = nix::libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` outlives the call, and the kernel only reads it.
    unsafe { request::set_size(terminal.as_fd().as_raw_fd(), &raw const size) }?;
    Ok(())
}

/// Reads and writes of the descriptor no longer wait.
pub fn set_nonblocking(fd: &impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Lets a descriptor pass to programs that are executed from now on.
pub fn inherit(fd: &impl AsFd) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(())
}

/// Takes over a descriptor that this process inherited under a known number.
///
/// Must be called once for a number, by the only code that knows of it; checks that it is open.
pub fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a standard stream cannot be adopted"));
    }
    // SAFETY: the caller was told this number by the process that opened it for us and closes it nowhere else.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    match fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)) {
        Ok(_) => Ok(fd),
        Err(error) => {
            std::mem::forget(fd);
            Err(error.into())
        }
    }
}

/// Makes a user the owner of what is behind a descriptor.
pub fn give_to(fd: &impl AsFd, uid: u32) -> io::Result<()> {
    Ok(nix::unistd::fchown(fd, Some(uid.into()), None)?)
}

/// A pipe, read end first, closed on exec.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC)?)
}

/// Listens on a socket in `directory`, however long its path is; mode 0600.
pub fn listen(directory: &Path, name: &str) -> io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    let handle = std::fs::File::open(directory)?;
    let listener = UnixListener::bind_addr(&address(&handle, name)?)?;
    std::fs::set_permissions(directory.join(name), std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Connects to a socket in `directory`, however long its path is.
pub fn connect(directory: &Path, name: &str) -> io::Result<UnixStream> {
    let handle = std::fs::File::open(directory)?;
    UnixStream::connect_addr(&address(&handle, name)?)
}

/// A socket's path holds 108 bytes; through `/proc` any directory fits.
fn address(directory: &std::fs::File, name: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_pathname(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn descriptors_travel_with_bytes() {
        let (a, b) = UnixStream::pair().unwrap();
        let (read, write) = pipe().unwrap();
        assert_eq!(send(&a, b"hello", &[write.as_raw_fd()]).unwrap(), 5);
        drop(write);
        let mut buffer = [0; 16];
        let (n, mut fds) = receive(&b, &mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"hello");
        std::fs::File::from(fds.pop().unwrap()).write_all(b"through").unwrap();
        let mut text = String::new();
        std::fs::File::from(read).read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }

    #[test]
    fn a_socket_may_lie_in_a_long_path() {
        let dir = std::env::temp_dir().join(format!("sys-fd-{}", std::process::id())).join("x".repeat(120));
        std::fs::create_dir_all(&dir).unwrap();
        let listener = listen(&dir, "s").unwrap();
        connect(&dir, "s").unwrap();
        listener.accept().unwrap();
        std::fs::remove_dir_all(dir.parent().unwrap()).unwrap();
    }
}
