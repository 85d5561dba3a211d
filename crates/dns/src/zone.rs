//! The names of the cluster domain, and the records under them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::{CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record};

/// Seconds that an answer may be kept: short, for services and endpoints change, and asking again costs little on the
/// same node.
pub(crate) const TTL: u32 = 5;

/// The cluster domain.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    pub origin: Name,
    /// Where this server answers.
    pub addresses: Vec<IpAddr>,
    /// Serial number of its SOA record.
    pub serial: u32,
}

impl Zone {
    /// The labels of a name below the origin, outermost first and in lower case; none when it lies elsewhere.
    pub(crate) fn inside(&self, name: &Name) -> Option<Vec<String>> {
        if !self.origin.zone_of(name) {
            return None;
        }
        let skip = usize::from(self.origin.num_labels());
        Some(name.iter().rev().skip(skip).map(|l| String::from_utf8_lossy(l).to_ascii_lowercase()).collect())
    }

    /// A name below the origin, its labels innermost first; none when it would not be a name.
    pub(crate) fn name(&self, labels: &[&str]) -> Option<Name> {
        let relative = Name::from_labels(labels.iter().map(|label| label.as_bytes())).ok()?;
        relative.append_domain(&self.origin).ok()
    }

    pub(crate) fn server(&self) -> Option<Name> {
        self.name(&["ns", "dns"])
    }

    pub(crate) fn soa(&self) -> Option<Record> {
        let data = SOA::new(self.server()?, self.name(&["hostmaster"])?, self.serial, 7200, 1800, 86400, TTL);
        Some(record(&self.origin, RData::SOA(data)))
    }

    pub(crate) fn ns(&self) -> Option<Record> {
        Some(record(&self.origin, RData::NS(NS(self.server()?))))
    }
}

pub(crate) fn record(owner: &Name, data: RData) -> Record {
    Record::from_rdata(owner.clone(), TTL, data)
}

pub(crate) fn address(owner: &Name, address: IpAddr) -> Record {
    record(
        owner,
        match address {
            IpAddr::V4(v4) => RData::A(v4.into()),
            IpAddr::V6(v6) => RData::AAAA(v6.into()),
        },
    )
}

pub(crate) fn text(owner: &Name, text: &str) -> Record {
    record(owner, RData::TXT(TXT::new(vec![text.to_owned()])))
}

pub(crate) fn alias(owner: &Name, target: Name) -> Record {
    record(owner, RData::CNAME(CNAME(target)))
}

pub(crate) fn pointer(owner: &Name, target: Name) -> Record {
    record(owner, RData::PTR(PTR(target)))
}

/// A service record; `share` is how many there are of the same priority.
pub(crate) fn service(owner: &Name, port: u16, target: Name, share: usize) -> Record {
    let weight = u16::try_from(100 / share.max(1)).unwrap_or(1).max(1);
    record(owner, RData::SRV(SRV::new(0, weight, port, target)))
}

/// The address that a whole reverse name stands for.
pub(crate) fn reverse(name: &Name) -> Option<IpAddr> {
    let labels: Vec<String> = name.iter().map(|l| String::from_utf8_lossy(l).to_ascii_lowercase()).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    match labels.as_slice() {
        [d, c, b, a, "in-addr", "arpa"] => format!("{a}.{b}.{c}.{d}").parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        [nibbles @ .., "ip6", "arpa"] if nibbles.len() == 32 => {
            let digits = nibbles.iter().rev().try_fold(0u128, |number, nibble| {
                let digit = u128::from_str_radix(nibble, 16).ok().filter(|_| nibble.len() == 1)?;
                Some(number << 4 | digit)
            });
            digits.map(|number| IpAddr::V6(Ipv6Addr::from(number)))
        }
        _ => None,
    }
}

/// How an address stands in one label: its dots or colons as dashes.
pub(crate) fn dashed(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}

/// The address that a label of a pod's name stands for.
pub(crate) fn undashed(label: &str) -> Option<IpAddr> {
    let v4 = label.replace('-', ".").parse().ok().map(IpAddr::V4);
    v4.or_else(|| label.replace('-', ":").parse().ok().map(IpAddr::V6))
}
