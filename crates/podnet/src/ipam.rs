//! Which sandbox has which address. Pure; kept on disk by [`crate::network`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use cni::PortMapping;
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// One sandbox's share of the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    pub address: Ipv4Addr,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMapping>,
}

/// All leases of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leases {
    #[serde(default)]
    pub range: Option<Ipv4Net>,
    /// The bridge is there: the range was told in this run.
    #[serde(skip)]
    pub ready: bool,
    /// The address given last: the next search starts after it, so that a freed address rests for a while.
    #[serde(default)]
    pub last: Option<Ipv4Addr>,
    #[serde(default)]
    pub by_sandbox: BTreeMap<String, Lease>,
}

/// The bridge's own address: the first of the range.
pub(crate) fn gateway(range: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(range.network()).saturating_add(1))
}

impl Leases {
    /// The range, once the bridge is there.
    pub(crate) fn usable(&self) -> Option<Ipv4Net> {
        self.range.filter(|_| self.ready)
    }

    /// The sandbox's address: the one it has, or the next free one; none when all are taken.
    pub(crate) fn lease(&mut self, sandbox: &str, ports: &[PortMapping]) -> Option<Ipv4Addr> {
        if let Some(lease) = self.by_sandbox.get_mut(sandbox) {
            lease.ports = ports.to_vec();
            return Some(lease.address);
        }
        let address = self.next_free()?;
        self.last = Some(address);
        self.by_sandbox.insert(sandbox.to_owned(), Lease { address, ports: ports.to_vec() });
        Some(address)
    }

    /// Gives the address back; tells what the sandbox had.
    pub(crate) fn release(&mut self, sandbox: &str) -> Option<Lease> {
        self.by_sandbox.remove(sandbox)
    }

    fn next_free(&self) -> Option<Ipv4Addr> {
        let range = self.range?;
        let first = u32::from(gateway(range)).checked_add(1)?;
        let last = u32::from(range.broadcast()).checked_sub(1)?;
        let taken: BTreeSet<u32> = self.by_sandbox.values().map(|lease| lease.address.into()).collect();
        let after = self.last.map(u32::from).filter(|l| (first..last).contains(l)).map_or(first, |l| l + 1);
        (after..=last).chain(first..after).find(|candidate| !taken.contains(candidate)).map(Ipv4Addr::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases(range: &str) -> Leases {
        Leases { range: Some(range.parse().unwrap()), ..Leases::default() }
    }

    #[test]
    fn addresses_start_after_the_gateway_and_go_round() {
        let mut leases = leases("10.1.2.0/29");
        let given: Vec<_> =
            ["a", "b", "c", "d", "e"].iter().map(|s| leases.lease(s, &[]).unwrap().octets()[3]).collect();
        assert_eq!(given, [2, 3, 4, 5, 6]);
        assert_eq!(leases.lease("f", &[]), None);
        leases.release("b");
        assert_eq!(leases.lease("f", &[]).unwrap().octets()[3], 3);
    }

    #[test]
    fn a_freed_address_rests() {
        let mut leases = leases("10.1.2.0/24");
        let first = leases.lease("a", &[]).unwrap();
        leases.release("a");
        assert_ne!(leases.lease("b", &[]).unwrap(), first);
    }

    #[test]
    fn asking_again_gives_the_same() {
        let mut leases = leases("10.1.2.0/24");
        assert_eq!(leases.lease("a", &[]), leases.lease("a", &[]));
    }

    #[test]
    fn without_a_range_there_is_nothing() {
        assert_eq!(Leases::default().lease("a", &[]), None);
    }
}
