//! Links, addresses and routes, through route netlink.

mod changes;
mod routes;
mod tunnel;

pub use changes::Changes;
pub use routes::{OwnAddress, Route, RouteTag};
pub use tunnel::{Mac, Remote, Vxlan};

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::path::Path;

use futures::{StreamExt, TryStreamExt};
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::{LinkBridge, LinkBridgePort, LinkUnspec, LinkVeth, RouteMessageBuilder};
use tokio::task::JoinHandle;

use crate::{Result, SysError, namespace};

/// A connection to one network namespace.
pub struct Netlink {
    handle: rtnetlink::Handle,
    connection: JoinHandle<()>,
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// A number that tells names apart (FNV-1a).
pub fn sum(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// A name as links may have it, which is 15 characters at most: a longer one is cut and told apart by a sum. The suffix
/// is kept.
pub fn link_name(name: &str, suffix: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    if name.len() + suffix.len() <= 15 {
        return format!("{name}{suffix}");
    }
    let head: String = name.chars().take(7_usize.saturating_sub(suffix.len())).collect();
    format!("{head}{:08x}{suffix}", sum(&name))
}

/// A hardware address made from an IP address: locally administered, the same whoever works it out.
pub fn mac_of(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    [0x0e, 0x6f, a, b, c, d]
}

fn failed(operation: &'static str, subject: &str, error: rtnetlink::Error) -> SysError {
    let cause = match &error {
        rtnetlink::Error::NetlinkError(message) => io::Error::from_raw_os_error(-message.raw_code()),
        _ => io::Error::other(error.to_string()),
    };
    SysError::new(operation, subject, cause)
}

fn unless_there(result: std::result::Result<(), rtnetlink::Error>) -> std::result::Result<(), rtnetlink::Error> {
    match result {
        Err(rtnetlink::Error::NetlinkError(m)) if m.raw_code() == -nix::libc::EEXIST => Ok(()),
        other => other,
    }
}

impl Netlink {
    /// The namespace of the calling thread.
    pub fn here() -> Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(|e| SysError::new("open", "netlink", e))?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }

    /// A pinned namespace.
    pub fn inside(namespace: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Handle::current();
        let (connection, handle, _) = namespace::within_net(namespace, move || {
            let _context = runtime.enter();
            rtnetlink::new_connection()
        })?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }

    /// Index of a link, none when there is no such link.
    pub async fn index(&self, name: &str) -> Result<Option<u32>> {
        match self.handle.link().get().match_name(name).execute().try_next().await {
            Ok(link) => Ok(link.map(|link| link.header.index)),
            Err(rtnetlink::Error::NetlinkError(m)) if m.raw_code() == -nix::libc::ENODEV => Ok(None),
            Err(e) => Err(failed("look up link", name, e)),
        }
    }

    async fn required(&self, name: &str) -> Result<u32> {
        let missing = || SysError::new("look up link", name, io::Error::from_raw_os_error(nix::libc::ENODEV));
        self.index(name).await?.ok_or_else(missing)
    }

    /// Names of all links.
    pub async fn names(&self) -> Result<Vec<String>> {
        let mut links = self.handle.link().get().execute();
        let mut names = Vec::new();
        while let Some(link) = links.next().await {
            let link = link.map_err(|e| failed("list", "links", e))?;
            names.extend(link.attributes.into_iter().find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name),
                _ => None,
            }));
        }
        Ok(names)
    }

    /// Makes a bridge, unless it is there; answers its index.
    pub async fn bridge(&self, name: &str) -> Result<u32> {
        let made = self.handle.link().add(LinkBridge::new(name).build()).execute().await;
        unless_there(made).map_err(|e| failed("make bridge", name, e))?;
        self.required(name).await
    }

    /// Makes a pair of connected links, both in this namespace.
    pub async fn veth(&self, name: &str, peer: &str) -> Result<()> {
        let made = self.handle.link().add(LinkVeth::new(name, peer).build()).execute().await;
        made.map_err(|e| failed("make link", name, e))
    }

    /// Makes a link here whose other end, `peer`, starts its life inside another namespace.
    pub async fn veth_into(&self, name: &str, peer: &str, namespace: &Path, mtu: Option<u32>) -> Result<()> {
        use rtnetlink::packet_route::link::{InfoData, InfoVeth};
        let file = File::open(namespace).map_err(|e| SysError::at("open namespace", namespace, e))?;
        let mut inner = LinkUnspec::new_with_name(peer).setns_by_fd(file.as_raw_fd());
        let mut outer = LinkVeth::new(name, peer);
        if let Some(mtu) = mtu {
            inner = inner.mtu(mtu);
            outer = outer.mtu(mtu);
        }
        let message = outer.set_info_data(InfoData::Veth(InfoVeth::Peer(inner.build()))).build();
        let made = self.handle.link().add(message).execute().await;
        made.map_err(|e| failed("make link", name, e))
    }

    /// Puts a link on a bridge; what comes from it may go back to it, as when a pod reaches itself by a service.
    pub async fn enslave(&self, name: &str, bridge: u32) -> Result<()> {
        let index = self.required(name).await?;
        let message = LinkUnspec::new_with_index(index).controller(bridge).up().build();
        self.handle.link().set(message).execute().await.map_err(|e| failed("put on bridge", name, e))?;
        let port = LinkBridgePort::new(index).hairpin(true).build();
        self.handle.link().set_port(port).execute().await.map_err(|e| failed("configure bridge port", name, e))
    }

    /// Gives a link a hardware address of its own. A bridge without one has the lowest of its ports', which changes with
    /// them, and its neighbours then send to an address that is nobody's.
    pub async fn set_mac(&self, name: &str, mac: Mac) -> Result<()> {
        let index = self.required(name).await?;
        let message = LinkUnspec::new_with_index(index).address(mac.to_vec()).build();
        self.handle.link().set(message).execute().await.map_err(|e| failed("set hardware address of", name, e))
    }

    /// Brings a link up.
    pub async fn up(&self, name: &str) -> Result<()> {
        let index = self.required(name).await?;
        let message = LinkUnspec::new_with_index(index).up().build();
        self.handle.link().set(message).execute().await.map_err(|e| failed("bring up", name, e))
    }

    /// Removes a link; none of that name is success.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let Some(index) = self.index(name).await? else { return Ok(()) };
        match self.handle.link().del(index).execute().await {
            Err(rtnetlink::Error::NetlinkError(m)) if m.raw_code() == -nix::libc::ENODEV => Ok(()),
            other => other.map_err(|e| failed("remove link", name, e)),
        }
    }

    /// Gives a link an address, unless it has it.
    pub async fn address(&self, name: &str, address: IpAddr, prefix: u8) -> Result<()> {
        let index = self.required(name).await?;
        let added = self.handle.address().add(index, address, prefix).execute().await;
        unless_there(added).map_err(|e| failed("add address", &format!("{address}/{prefix} to {name}"), e))
    }

    /// Takes an address of a link away; one that it does not have is success.
    pub async fn remove_address(&self, name: &str, gone: IpAddr) -> Result<()> {
        let index = self.required(name).await?;
        let mut addresses = self.handle.address().get().set_link_index_filter(index).execute();
        while let Some(address) = addresses.next().await {
            let address = address.map_err(|e| failed("list addresses of", name, e))?;
            if address.attributes.iter().any(|a| matches!(a, AddressAttribute::Address(ip) if *ip == gone)) {
                let removed = self.handle.address().del(address).execute().await;
                removed.map_err(|e| failed("remove address of", name, e))?;
            }
        }
        Ok(())
    }

    /// Sends everything without a closer route to `gateway` on a link, even if no address of the link covers it.
    pub async fn default_route(&self, link: &str, gateway: Ipv4Addr) -> Result<()> {
        let index = self.required(link).await?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new().output_interface(index).gateway(gateway).onlink().build();
        let added = self.handle.route().add(route).execute().await;
        unless_there(added).map_err(|e| failed("add default route by", &gateway.to_string(), e))
    }
}

#[cfg(test)]
mod tests {
    use super::link_name;

    #[test]
    fn names_of_links_fit_the_kernel() {
        assert_eq!(link_name("oxikube", "0"), "oxikube0");
        let (a, b) = (link_name("a-rather-long-instance-1", "0"), link_name("a-rather-long-instance-2", "0"));
        assert_ne!(a, b);
        assert!(a.len() == 15 && a.ends_with('0'), "{a}");
    }
}
