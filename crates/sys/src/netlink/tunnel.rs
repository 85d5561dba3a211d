//! VXLAN links: a network of their own over whatever carries UDP.

use std::net::{IpAddr, Ipv4Addr};

use futures::StreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage};
use rtnetlink::{LinkUnspec, LinkVxlan};

use super::{Netlink, failed, unless_there};
use crate::Result;

/// Hardware address of a link.
pub type Mac = [u8; 6];

/// What a VXLAN link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vxlan {
    /// Number of the network; those with the same number and port understand each other.
    pub id: u32,
    /// UDP port.
    pub port: u16,
    /// Hardware address.
    pub mac: Mac,
    /// Largest packet inside.
    pub mtu: u32,
}

/// What lies at the other end of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remote {
    /// Its address inside.
    pub inner: Ipv4Addr,
    /// Its hardware address inside.
    pub mac: Mac,
    /// The machine that has it.
    pub machine: Ipv4Addr,
}

impl Netlink {
    /// Makes a VXLAN link, unless one of that name is there, gives it its hardware address and MTU, and brings it up.
    pub async fn vxlan(&self, name: &str, what: Vxlan) -> Result<u32> {
        let link = LinkVxlan::new(name, what.id).port(what.port).learning(false).address(what.mac.to_vec());
        let made = self.handle.link().add(link.mtu(what.mtu).build()).execute().await;
        unless_there(made).map_err(|e| failed("make tunnel", name, e))?;
        let index = self.required(name).await?;
        let set = LinkUnspec::new_with_index(index).address(what.mac.to_vec()).mtu(what.mtu).up().build();
        self.handle.link().set(set).execute().await.map_err(|e| failed("configure tunnel", name, e))?;
        Ok(index)
    }

    /// Largest packet that a link takes.
    pub async fn mtu(&self, link: u32) -> Result<Option<u32>> {
        let mut links = self.handle.link().get().match_index(link).execute();
        let Some(message) = links.next().await else { return Ok(None) };
        let message = message.map_err(|e| failed("look up link", &link.to_string(), e))?;
        Ok(message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(*mtu),
            _ => None,
        }))
    }

    /// Says who lies behind a VXLAN link; nobody else does from now on.
    pub async fn set_remotes(&self, link: u32, remotes: &[Remote]) -> Result<()> {
        for remote in remotes {
            let subject = remote.inner.to_string();
            let neighbour = self.handle.neighbours().add(link, IpAddr::V4(remote.inner));
            let set = neighbour.link_layer_address(&remote.mac).replace().execute().await;
            set.map_err(|e| failed("set neighbour", &subject, e))?;
            let forward = self.handle.neighbours().add_bridge(link, &remote.mac).flags(NeighbourFlags::Own);
            let set = forward.destination(IpAddr::V4(remote.machine)).replace().execute().await;
            set.map_err(|e| failed("set tunnel to", &subject, e))?;
        }
        self.forget_others(link, remotes).await
    }

    async fn forget_others(&self, link: u32, remotes: &[Remote]) -> Result<()> {
        for family in [AddressFamily::Inet, AddressFamily::Bridge] {
            let mut known = self.handle.neighbours().get().set_address_family(family).execute();
            let mut gone = Vec::new();
            while let Some(message) = known.next().await {
                let message = message.map_err(|e| failed("list", "neighbours", e))?;
                if message.header.ifindex == link && !remotes.iter().any(|remote| is_of(&message, remote)) {
                    gone.push(message);
                }
            }
            drop(known);
            for message in gone {
                match self.handle.neighbours().del(message).execute().await {
                    Err(rtnetlink::Error::NetlinkError(m)) if m.raw_code() == -nix::libc::ENOENT => {}
                    other => other.map_err(|e| failed("forget neighbour of", &link.to_string(), e))?,
                }
            }
        }
        Ok(())
    }
}

/// Whether an entry is what [`Netlink::set_remotes`] makes for this remote.
fn is_of(message: &NeighbourMessage, remote: &Remote) -> bool {
    let (mut mac, mut destination) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = Some(bytes.as_slice()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => destination = Some(*ip),
            _ => {}
        }
    }
    let expected = if message.header.family == AddressFamily::Bridge { remote.machine } else { remote.inner };
    mac == Some(remote.mac.as_slice()) && destination.is_none_or(|ip| ip == expected)
}
