//! Which way leads to which node's pods. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sys::netlink::{Mac, mac_of};

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeAddresses {
    pub name: String,
    /// Its pods' addresses.
    pub range: Ipv4Net,
    /// Its own.
    pub address: Ipv4Addr,
}

/// How to reach the pods of all other nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ways {
    /// This node's own range and address; without them nobody is reached.
    pub own: Option<(Ipv4Net, Ipv4Addr)>,
    /// Ranges of nodes on a link that this node shares: the node is the next hop.
    pub direct: BTreeMap<Ipv4Net, Ipv4Addr>,
    /// Ranges of nodes behind routers, which know nothing of pods: the node is the other end of a tunnel.
    pub tunnel: BTreeMap<Ipv4Net, Ipv4Addr>,
}

/// Decides for the node called `own`. `links` are the networks that it is attached to; ranges outside of `cluster` are
/// nobody's business here.
pub(crate) fn ways(own: &str, nodes: &[NodeAddresses], links: &[Ipv4Net], cluster: Ipv4Net) -> Ways {
    let mut ways = Ways::default();
    let Some(this) = nodes.iter().find(|node| node.name == own) else { return ways };
    ways.own = Some((this.range, this.address));
    let mut others: Vec<&NodeAddresses> = nodes.iter().filter(|node| node.name != own).collect();
    // Whoever claims a range that another has already comes too late; the order of names is as good as any.
    others.sort_by(|a, b| a.name.cmp(&b.name));
    let mut taken = vec![this.range];
    for node in others {
        let free = !taken.iter().any(|range| range.contains(&node.range) || node.range.contains(range));
        // A node at this one's address is simulated, or says so by mistake.
        if !free || !cluster.contains(&node.range) || node.address == this.address {
            continue;
        }
        taken.push(node.range);
        // Both ends decide alike: only the network that the node's own address is in counts, whatever else it is on.
        let shared = links.iter().any(|link| link.contains(&this.address) && link.contains(&node.address));
        let way = if shared { &mut ways.direct } else { &mut ways.tunnel };
        way.insert(node.range, node.address);
    }
    ways
}

/// The address inside the tunnel of the node that has this range: the one that no pod gets.
pub(crate) fn inner(range: Ipv4Net) -> Ipv4Addr {
    range.network()
}

/// The hardware address inside the tunnel, which every node works out alike.
pub(crate) fn mac(range: Ipv4Net) -> Mac {
    mac_of(inner(range))
}
