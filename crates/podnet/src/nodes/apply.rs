//! Brings the kernel's routes, and the tunnel if there is one, to what was decided.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::Ipv4Net;
use sys::netlink::{Netlink, Remote, Route, RouteTag, Vxlan, sum};
use sys::{Result, namespace};

use super::plan::{self, Ways};
use crate::names;

/// Routing protocol number of our routes. None is assigned to it.
const PROTOCOL: u8 = 111;
/// What a packet gains in the tunnel: Ethernet, IPv4, UDP and VXLAN headers.
const OVERHEAD: u32 = 50;
const USUAL_MTU: u32 = 1500;
/// The port that Linux and flannel use.
const PORT: u16 = 8472;

/// Which routes are this instance's. The metric also lets a route that somebody made by hand win over ours.
pub(super) fn tag(instance: &str) -> RouteTag {
    RouteTag { protocol: PROTOCOL, metric: 1024 + (sum(instance) & 0xffff) }
}

/// Number of the tunnel's network: instances do not hear each other.
fn tunnel_id(instance: &str) -> u32 {
    // 24 bits, and not zero.
    (sum(instance) & 0x00ff_ffff).max(1)
}

/// Makes what is missing and removes what is too much; everything else is left alone.
pub(super) async fn apply(netlink: &Netlink, instance: &str, ways: &Ways) -> Result<()> {
    let tag = tag(instance);
    let mut wanted: BTreeSet<Route> = ways.direct.iter().map(|(range, node)| route(*range, *node, None)).collect();
    let tunnel = match ways.own {
        Some((own, address)) if !ways.tunnel.is_empty() => {
            Some(dig(netlink, instance, own, address.into(), ways).await?)
        }
        _ => {
            netlink.remove(&names::tunnel(instance)).await?;
            None
        }
    };
    wanted.extend(ways.tunnel.keys().map(|range| route(*range, plan::inner(*range), tunnel)));
    if !wanted.is_empty() {
        namespace::set_sysctl("net.ipv4.ip_forward", "1")?;
    }
    // The kernel says on which link a next hop is; it matters only where the link is ours.
    let known = |route: &Route| Route { link: route.link.filter(|link| Some(*link) == tunnel), ..*route };
    let there: Vec<Route> = netlink.routes(tag).await?;
    for old in there.iter().filter(|old| !wanted.contains(&known(old))) {
        netlink.remove_route(*old, tag).await?;
    }
    let there: BTreeSet<Route> = there.iter().map(known).collect();
    for new in wanted.difference(&there) {
        netlink.add_route(*new, tag).await?;
    }
    Ok(())
}

fn route(to: Ipv4Net, gateway: std::net::Ipv4Addr, link: Option<u32>) -> Route {
    Route { to: to.network(), prefix: to.prefix_len(), gateway, link }
}

/// The tunnel's link, with everybody at its other end.
async fn dig(netlink: &Netlink, instance: &str, own: Ipv4Net, address: IpAddr, ways: &Ways) -> Result<u32> {
    let name = names::tunnel(instance);
    let link = netlink.own_addresses().await?.into_iter().find(|known| IpAddr::V4(known.address) == address);
    let below = match link {
        Some(link) => netlink.mtu(link.link).await?,
        None => None,
    };
    let mtu = below.unwrap_or(USUAL_MTU).saturating_sub(OVERHEAD);
    let what = Vxlan { id: tunnel_id(instance), port: PORT, mac: plan::mac(own), mtu };
    let index = netlink.vxlan(&name, what).await?;
    netlink.address(&name, IpAddr::V4(plan::inner(own)), 32).await?;
    let remotes: Vec<Remote> = ways
        .tunnel
        .iter()
        .map(|(range, machine)| Remote { inner: plan::inner(*range), mac: plan::mac(*range), machine: *machine })
        .collect();
    netlink.set_remotes(index, &remotes).await?;
    Ok(index)
}

/// Takes the routes and the tunnel away.
pub(crate) async fn remove(netlink: &Netlink, instance: &str) -> Result<()> {
    let tag = tag(instance);
    for route in netlink.routes(tag).await? {
        netlink.remove_route(route, tag).await?;
    }
    netlink.remove(&names::tunnel(instance)).await
}
