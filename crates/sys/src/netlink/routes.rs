//! Routes to other machines, and where this machine can send to without a router.

use std::net::{IpAddr, Ipv4Addr};

use futures::StreamExt;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol};

use super::{Netlink, failed, unless_there};
use crate::Result;

/// Marks routes as somebody's: their protocol number and metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteTag {
    /// Number of the routing protocol; 4 is a route by hand.
    pub protocol: u8,
    /// Metric; of two routes to the same range the one with the lower metric counts.
    pub metric: u32,
}

/// A route to a range of IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// First address of the range.
    pub to: Ipv4Addr,
    /// Length of the range's prefix.
    pub prefix: u8,
    /// The next hop.
    pub gateway: Ipv4Addr,
    /// Index of the link on which the next hop is, whatever the link's addresses say; none lets the kernel find it.
    pub link: Option<u32>,
}

/// An IPv4 address of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnAddress {
    /// Index of the link that has it.
    pub link: u32,
    /// The address.
    pub address: Ipv4Addr,
    /// Length of its prefix.
    pub prefix: u8,
}

impl Netlink {
    /// All IPv4 addresses.
    pub async fn own_addresses(&self) -> Result<Vec<OwnAddress>> {
        let mut messages = self.handle.address().get().execute();
        let mut found = Vec::new();
        while let Some(message) = messages.next().await {
            let message = message.map_err(|e| failed("list", "addresses", e))?;
            // The local address is the machine's own; the other one may be that of a peer.
            let local = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(IpAddr::V4(ip)) => Some(*ip),
                _ => None,
            });
            let (link, prefix) = (message.header.index, message.header.prefix_len);
            found.extend(local.map(|address| OwnAddress { link, address, prefix }));
        }
        Ok(found)
    }

    /// The routes that carry a tag.
    pub async fn routes(&self, tag: RouteTag) -> Result<Vec<Route>> {
        let mut messages = self.handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
        let mut found = Vec::new();
        while let Some(message) = messages.next().await {
            let message = message.map_err(|e| failed("list", "routes", e))?;
            if RouteProtocol::from(tag.protocol) == message.header.protocol {
                found.extend(read(&message).filter(|(metric, _)| *metric == tag.metric).map(|(_, route)| route));
            }
        }
        Ok(found)
    }

    /// Adds a route, unless it is there. A route of others, whose metric differs, stays as it is.
    pub async fn add_route(&self, route: Route, tag: RouteTag) -> Result<()> {
        let added = self.handle.route().add(message(route, tag)).execute().await;
        unless_there(added).map_err(|e| failed("add route to", &format!("{}/{}", route.to, route.prefix), e))
    }

    /// Removes a route; one that is not there is success.
    pub async fn remove_route(&self, route: Route, tag: RouteTag) -> Result<()> {
        match self.handle.route().del(message(route, tag)).execute().await {
            Err(rtnetlink::Error::NetlinkError(m)) if m.raw_code() == -nix::libc::ESRCH => Ok(()),
            other => other.map_err(|e| failed("remove route to", &format!("{}/{}", route.to, route.prefix), e)),
        }
    }
}

fn message(route: Route, tag: RouteTag) -> RouteMessage {
    let builder = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(route.to, route.prefix)
        .gateway(route.gateway)
        .protocol(RouteProtocol::from(tag.protocol))
        .priority(tag.metric);
    match route.link {
        Some(link) => builder.output_interface(link).onlink().build(),
        None => builder.build(),
    }
}

/// Metric and route, when the message is of the kind that is made here.
fn read(message: &RouteMessage) -> Option<(u32, Route)> {
    let (mut to, mut gateway, mut link, mut metric) = (None, None, None, 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => to = Some(*ip),
            RouteAttribute::Gateway(RouteAddress::Inet(ip)) => gateway = Some(*ip),
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::Priority(number) => metric = *number,
            _ => {}
        }
    }
    let route = Route { to: to?, prefix: message.header.destination_prefix_length, gateway: gateway?, link };
    Some((metric, route))
}
