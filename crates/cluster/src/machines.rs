//! Several machines on one: each is a network namespace with an address on a bridge of the instance, and a data directory.
//!
//! What runs on a machine is the caller's affair: whatever is started with [`Machine::netns`] entered is on it. The
//! host itself has the first address of the network and is the machines' router to the world.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use sys::namespace::{self, Kind};
use sys::netlink::{Netlink, link_name, mac_of};
use sys::nft::{Kernel, Ruleset};
use sys::{Result, SysError};

/// The first machine's place in the network: the addresses before it are the host's and spare.
const FIRST: u32 = 10;

/// The network that the machines of an instance are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    instance: String,
    range: Ipv4Net,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its name, which is also its node's.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its data directory.
    pub root: PathBuf,
}

impl Network {
    /// The network of an instance; nothing is made yet.
    pub fn new(instance: &str, range: Ipv4Net) -> Self {
        Self { instance: instance.to_owned(), range: range.trunc() }
    }

    /// The host's address in it.
    pub fn gateway(&self) -> Ipv4Addr {
        self.nth(1)
    }

    fn nth(&self, n: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.range.network()).saturating_add(n))
    }

    /// The machine of this number, from 1 on: 0 is the host. None when the range has no address for it.
    pub fn machine(&self, number: u32, root: &Path) -> Option<Machine> {
        let address = self.nth(FIRST.checked_add(number)?);
        let fits = self.range.contains(&address) && address < self.range.broadcast();
        let name = node_name(&self.instance, number);
        let root = root.join("nodes").join(&name);
        fits.then_some(Machine { name, address, root })
    }

    fn bridge(&self) -> String {
        link_name(&self.instance, "-net")
    }

    fn table(&self) -> String {
        format!("{}_machines", self.instance.replace(|c: char| !c.is_ascii_alphanumeric(), "_"))
    }

    /// Makes bridge, address and the machines' way out. Idempotent.
    pub async fn make(&self) -> Result<()> {
        let (netlink, bridge) = (Netlink::here()?, self.bridge());
        self.is_free(&netlink, &bridge).await?;
        netlink.bridge(&bridge).await?;
        netlink.set_mac(&bridge, mac_of(self.gateway())).await?;
        netlink.address(&bridge, self.gateway().into(), self.range.prefix_len()).await?;
        netlink.up(&bridge).await?;
        namespace::set_sysctl("net.ipv4.ip_forward", "1")?;
        Kernel.apply(way_out(&self.table(), &bridge, self.range)).await
    }

    /// Two networks with the same addresses would each get half of the packets.
    async fn is_free(&self, netlink: &Netlink, bridge: &str) -> Result<()> {
        let own = netlink.index(bridge).await?;
        let taken = netlink
            .own_addresses()
            .await?
            .into_iter()
            .find(|there| Some(there.link) != own && self.range.contains(&there.address) && there.prefix > 0);
        match taken {
            None => Ok(()),
            Some(there) => {
                let cause = io::Error::new(io::ErrorKind::AddrInUse, format!("this host has {} there", there.address));
                Err(SysError::new("take the range", self.range.to_string(), cause))
            }
        }
    }

    /// Takes bridge and way out off the host. Machines go first.
    pub async fn remove(&self) -> Result<()> {
        Netlink::here()?.remove(&self.bridge()).await?;
        Kernel.apply(removal(&self.table())).await
    }
}

/// Name of the node of this number; 0 is the host's.
pub fn node_name(instance: &str, number: u32) -> String {
    format!("{instance}-{number}")
}

/// What machines send to the world carries the host's address.
fn way_out(table: &str, bridge: &str, range: Ipv4Net) -> String {
    let removal = removal(table);
    format!(
        "{removal}table ip {table} {{\n chain postrouting {{\n type nat hook postrouting priority srcnat + 5;\n\
         ip saddr {range} ip daddr != {range} oifname != \"{bridge}\" masquerade\n }}\n}}\n"
    )
}

fn removal(table: &str) -> String {
    format!("add table ip {table}\ndelete table ip {table}\n")
}

impl Machine {
    /// File in which its network namespace is pinned.
    pub fn netns(&self) -> PathBuf {
        self.root.join("netns/net")
    }

    /// The host's end of its cable.
    pub fn link(&self) -> String {
        link_name(&self.name, "")
    }

    /// Makes namespace, cable and address. Idempotent: what is there and sound stays.
    pub async fn make(&self, network: &Network) -> Result<()> {
        let netns = self.netns();
        if !namespace::is_pinned(&netns) {
            namespace::pin(&[Kind::Net], &self.root.join("netns"), "", &[])?;
        }
        let (host, link) = (Netlink::here()?, self.link());
        let inside = Netlink::inside(&netns)?;
        inside.up("lo").await?;
        if inside.index("eth0").await?.is_none() {
            host.remove(&link).await?;
            host.veth_into(&link, "eth0", &netns, None).await?;
        }
        let bridge = host.bridge(&network.bridge()).await?;
        host.enslave(&link, bridge).await?;
        inside.up("eth0").await?;
        inside.address("eth0", IpAddr::V4(self.address), network.range.prefix_len()).await?;
        inside.default_route("eth0", network.gateway()).await
    }

    /// Takes cable and namespace away. What runs in it is to be stopped before.
    pub async fn remove(&self) -> Result<()> {
        Netlink::here()?.remove(&self.link()).await?;
        namespace::unpin(&self.root.join("netns"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_have_names_addresses_and_directories() {
        let network = Network::new("oxikube", "10.245.0.0/24".parse().unwrap());
        let machine = network.machine(1, Path::new("/data")).unwrap();
        assert_eq!((machine.name.as_str(), machine.address.to_string()), ("oxikube-1", "10.245.0.11".to_owned()));
        assert_eq!(machine.root, Path::new("/data/nodes/oxikube-1"));
        assert_eq!(network.gateway().to_string(), "10.245.0.1");
        assert_eq!(network.machine(245, Path::new("/data")), None);
    }

    #[test]
    fn machines_reach_the_world_and_each_other_under_the_right_address() {
        let rules = way_out("t", "b", "10.245.0.0/24".parse().unwrap());
        assert!(rules.contains("ip saddr 10.245.0.0/24 ip daddr != 10.245.0.0/24 oifname != \"b\" masquerade"));
    }
}
