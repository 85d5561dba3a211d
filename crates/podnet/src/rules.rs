//! The packet filter table of the pod network, as nft's script. Pure.

use std::fmt::Write;

use cni::Protocol;
use ipnet::Ipv4Net;

use crate::ipam::Leases;

/// Replaces the whole table in one transaction.
pub(crate) fn ruleset(table: &str, bridge: &str, cluster: Ipv4Net, leases: &Leases) -> String {
    let Some(range) = leases.range else { return removal(table) };
    let mut out = removal(table);
    let (mut any, mut bound, mut own) = (Vec::new(), Vec::new(), Vec::new());
    for lease in leases.by_sandbox.values() {
        for port in &lease.ports {
            let protocol = match port.protocol {
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
                Protocol::Sctp => "sctp",
            };
            let to = format!("{} . {}", lease.address, port.container_port);
            match port.host_ip.filter(|ip| !ip.is_unspecified()) {
                Some(ip) if ip.is_ipv4() => bound.push(format!("{ip} . {protocol} . {} : {to}", port.host_port)),
                Some(_) => {}
                None => any.push(format!("{protocol} . {} : {to}", port.host_port)),
            }
        }
        if !lease.ports.is_empty() {
            own.push(format!("{0} . {0}", lease.address));
        }
    }
    let _infallible = write!(
        out,
        "table ip {table} {{\n{}{}{}{}}}\n",
        collection("map any", "typeof meta l4proto . th dport : ip daddr . th dport", &any),
        collection("map bound", "typeof ip daddr . meta l4proto . th dport : ip daddr . th dport", &bound),
        collection("set own", "typeof ip saddr . ip daddr", &own),
        chains(bridge, range, cluster),
    );
    out
}

/// Removes the table, whether it is there or not.
pub(crate) fn removal(table: &str) -> String {
    format!("add table ip {table}\ndelete table ip {table}\n")
}

fn collection(name: &str, kind: &str, elements: &[String]) -> String {
    let elements =
        if elements.is_empty() { String::new() } else { format!(" elements = {{ {} }}\n", elements.join(", ")) };
    format!(" {name} {{\n {kind}\n{elements} }}\n")
}

fn chains(bridge: &str, range: Ipv4Net, cluster: Ipv4Net) -> String {
    format!(
        " chain ports {{\n\
         meta l4proto {{ tcp, udp, sctp }} dnat ip to ip daddr . meta l4proto . th dport map @bound\n\
         meta l4proto {{ tcp, udp, sctp }} dnat ip to meta l4proto . th dport map @any\n }}\n\
         chain prerouting {{\n type nat hook prerouting priority dstnat + 5;\n fib daddr type local jump ports\n }}\n\
         chain output {{\n type nat hook output priority -95;\n fib daddr type local jump ports\n }}\n\
         chain postrouting {{\n type nat hook postrouting priority srcnat + 5;\n\
         ct status dnat ip saddr . ip daddr @own masquerade\n\
         ip saddr 127.0.0.0/8 oifname \"{bridge}\" masquerade\n\
         ip saddr {range} ip daddr != {cluster} ip daddr != 224.0.0.0/4 oifname != \"{bridge}\" masquerade\n }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use cni::PortMapping;

    #[test]
    fn host_ports_become_map_elements() {
        let mut leases = Leases { range: Some("10.1.2.0/24".parse().unwrap()), ..Leases::default() };
        let port = |host_ip: Option<&str>, host_port| PortMapping {
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            host_port,
            container_port: 80,
            protocol: Protocol::Tcp,
        };
        leases.lease("a", &[port(None, 8080), port(Some("0.0.0.0"), 8081), port(Some("192.0.2.1"), 8082)]).unwrap();
        leases.lease("b", &[]).unwrap();
        let text = ruleset("t", "br", "10.1.0.0/16".parse().unwrap(), &leases);
        assert!(text.contains("elements = { tcp . 8080 : 10.1.2.2 . 80, tcp . 8081 : 10.1.2.2 . 80 }"), "{text}");
        assert!(text.contains("elements = { 192.0.2.1 . tcp . 8082 : 10.1.2.2 . 80 }"), "{text}");
        assert!(text.contains("elements = { 10.1.2.2 . 10.1.2.2 }"), "{text}");
        assert!(text.starts_with("add table ip t\ndelete table ip t\ntable ip t {"));
    }

    #[test]
    fn traffic_that_leaves_the_cluster_is_masqueraded() {
        let leases = Leases { range: Some("10.1.2.0/24".parse().unwrap()), ..Leases::default() };
        let text = ruleset("t", "br", "10.1.0.0/16".parse().unwrap(), &leases);
        assert!(text.contains("ip saddr 10.1.2.0/24 ip daddr != 10.1.0.0/16"));
        assert!(!text.contains("elements"));
    }

    #[test]
    fn without_a_range_only_the_removal_is_left() {
        assert_eq!(ruleset("t", "br", "10.1.0.0/16".parse().unwrap(), &Leases::default()), removal("t"));
    }
}
