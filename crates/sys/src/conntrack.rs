//! Connections that the kernel tracks, through netlink (ctnetlink): UDP has no end of its own, so that a flow to
//! somebody who is gone would go on for as long as the client sends.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, connect, recv, send, setsockopt, socket,
};
use nix::sys::time::TimeVal;

use crate::{Result, SysError};

const FAMILY: u8 = nix::libc::AF_INET as u8;
const UDP: u8 = nix::libc::IPPROTO_UDP as u8;
/// Subsystem of connection tracking, in the upper half of a message's type.
const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
/// The header of a message and that of the subsystem.
const HEADERS: usize = 20;
/// An answer takes at most this long.
const SECONDS: i64 = 5;

/// Attributes, as the kernel numbers them.
mod attribute {
    pub(super) const ORIGINAL: u16 = 1;
    pub(super) const REPLY: u16 = 2;
    pub(super) const ZONE: u16 = 18;
    pub(super) const IP: u16 = 1;
    pub(super) const PROTOCOL: u16 = 2;
    pub(super) const SOURCE: u16 = 1;
    pub(super) const DESTINATION: u16 = 2;
    pub(super) const NUMBER: u16 = 1;
    pub(super) const SOURCE_PORT: u16 = 2;
    pub(super) const DESTINATION_PORT: u16 = 3;
}

/// One tracked UDP flow over IPv4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Who began it.
    pub client: SocketAddrV4,
    /// Whom the client sends to.
    pub destination: SocketAddrV4,
    /// Who gets it, after all translation.
    pub server: SocketAddrV4,
    /// What names it to the kernel.
    key: Vec<u8>,
}

/// The UDP flows of the calling thread's network namespace. Blocks.
pub fn udp_flows() -> Result<Vec<Flow>> {
    let failed = |e: io::Error| SysError::new("list", "tracked connections", e);
    let socket = open().map_err(failed)?;
    request(&socket, GET, REQUEST | DUMP, &[]).map_err(failed)?;
    let mut flows = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).map_err(|e| failed(e.into()))?;
        for (kind, body) in Messages(buffer.get(..count).unwrap_or_default()) {
            match kind {
                DONE => return Ok(flows),
                ERROR => return Err(failed(refusal(body))),
                _ => flows.extend(flow(body)),
            }
        }
    }
}

/// Forgets flows; those that ended meanwhile are no failure. Blocks.
pub fn forget(flows: &[Flow]) -> Result<()> {
    let failed = |e: io::Error| SysError::new("forget", "a tracked connection", e);
    let socket = open().map_err(failed)?;
    let mut buffer = vec![0; 8 * 1024];
    for flow in flows {
        request(&socket, DELETE, REQUEST | ACK, &flow.key).map_err(failed)?;
        let count = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).map_err(|e| failed(e.into()))?;
        for (kind, body) in Messages(buffer.get(..count).unwrap_or_default()) {
            let error = refusal(body);
            if kind == ERROR && !matches!(error.raw_os_error(), Some(0 | nix::libc::ENOENT)) {
                return Err(failed(error));
            }
        }
    }
    Ok(())
}

fn open() -> io::Result<OwnedFd> {
    let protocol = SockProtocol::NetlinkNetFilter;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::new(SECONDS, 0))?;
    connect(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    Ok(socket)
}

fn request(socket: &OwnedFd, kind: u16, flags: u16, attributes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(HEADERS + attributes.len()).map_err(io::Error::other)?;
    let mut message = Vec::with_capacity(HEADERS + attributes.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([FAMILY, 0, 0, 0]);
    message.extend(attributes);
    send(socket.as_raw_fd(), &message, MsgFlags::empty())?;
    Ok(())
}

/// What an error message says; 0 is "done".
fn refusal(body: &[u8]) -> io::Error {
    let code = body.first_chunk::<4>().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    io::Error::from_raw_os_error(code.saturating_neg())
}

/// The messages of a buffer: type, and what follows the header.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::try_from(u32::from_ne_bytes(*self.0.first_chunk()?)).ok()?;
        let kind = u16::from_ne_bytes(*self.0.get(4..)?.first_chunk()?);
        let body = self.0.get(16..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    }
}

/// The attributes of a buffer: number, content, and the whole with its header.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(*self.0.first_chunk()?));
        // The two upper bits are flags.
        let number = u16::from_ne_bytes(*self.0.get(2..)?.first_chunk()?) & 0x3fff;
        let (content, padded) = (self.0.get(4..length)?, length.next_multiple_of(4));
        let whole = self.0.get(..padded).or_else(|| self.0.get(..length))?;
        self.0 = self.0.get(padded..).unwrap_or_default();
        Some((number, content, whole))
    }
}

fn find(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    Attributes(attributes).find(|(number, ..)| *number == wanted).map(|(_, content, _)| content)
}

fn flow(body: &[u8]) -> Option<Flow> {
    let attributes = body.get(4..)?;
    let (original, reply) = (find(attributes, attribute::ORIGINAL)?, find(attributes, attribute::REPLY)?);
    let is_key = |number: &u16| matches!(*number, attribute::ORIGINAL | attribute::ZONE);
    let key = Attributes(attributes).filter(|(number, ..)| is_key(number)).flat_map(|(_, _, whole)| whole.to_vec());
    Some(Flow {
        client: end(original, attribute::SOURCE, attribute::SOURCE_PORT)?,
        destination: end(original, attribute::DESTINATION, attribute::DESTINATION_PORT)?,
        server: end(reply, attribute::SOURCE, attribute::SOURCE_PORT)?,
        key: key.collect(),
    })
}

/// One end of a UDP tuple.
fn end(tuple: &[u8], address: u16, port: u16) -> Option<SocketAddrV4> {
    let protocol = find(tuple, attribute::PROTOCOL)?;
    if find(protocol, attribute::NUMBER)? != [UDP] {
        return None;
    }
    let address: &[u8; 4] = find(find(tuple, attribute::IP)?, address)?.first_chunk()?;
    let port: &[u8; 2] = find(protocol, port)?.first_chunk()?;
    Some(SocketAddrV4::new(Ipv4Addr::from(*address), u16::from_be_bytes(*port)))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use nix::sched::{CloneFlags, unshare};

    use super::*;
    use crate::nft::{Kernel, Ruleset};

    #[test]
    fn a_flow_is_found_and_forgotten() {
        let done = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let tracked =
                "table ip t {\n chain output {\n type filter hook output priority 0;\n ct state new accept\n }\n}\n";
            runtime.block_on(async {
                crate::netlink::Netlink::here().unwrap().up("lo").await.unwrap();
                Kernel.apply(tracked.to_owned()).await.unwrap();
            });
            let (client, server) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
            client.send_to(b"x", server.local_addr().unwrap()).unwrap();
            let port = server.local_addr().unwrap().port();
            let found = udp_flows().unwrap();
            let [flow] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!((flow.destination.port(), flow.server.port()), (port, port));
            assert_eq!(flow.client.port(), client.local_addr().unwrap().port());
            forget(&found).unwrap();
            forget(&found).unwrap();
            assert_eq!(udp_flows().unwrap(), []);
        });
        done.join().unwrap();
    }
}
