//! Being told when addresses and routes change.

use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use rtnetlink::packet_core::NetlinkMessage;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::SocketAddr;
use rtnetlink::{Handle, MulticastGroup};
use tokio::task::JoinHandle;

use crate::{Result, SysError};

/// Tells that links, addresses or routes of a network namespace changed.
pub struct Changes {
    messages: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    connection: JoinHandle<()>,
    /// The connection ends with its last handle.
    _open: Handle,
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Changes {
    /// From now on, in the namespace of the calling thread.
    pub fn here() -> Result<Self> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv4Route];
        let opened = rtnetlink::new_multicast_connection(&groups);
        let (connection, handle, messages) = opened.map_err(|e| SysError::new("open", "netlink", e))?;
        Ok(Self { messages, connection: tokio::spawn(connection), _open: handle })
    }

    /// Waits for changes and takes all that are there; false when there will be no more.
    pub async fn next(&mut self) -> bool {
        let any = self.messages.next().await.is_some();
        while self.messages.try_recv().is_ok() {}
        any
    }
}
