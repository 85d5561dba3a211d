//! What is in the table of policies whatever policies there are.

use ipnet::Ipv4Net;

/// The chain that each forwarded packet passes. What the node itself sends or gets is not forwarded: kubelets reach their
/// pods, and pods their node.
pub(crate) fn frame(name: &str) -> String {
    format!(
        "table ip {name} {{
 set gated {{ type ipv4_addr; flags interval; }}
 set known {{ type ipv4_addr; }}
 set own {{ type ipv4_addr . ipv4_addr; }}
 map egress {{ type ipv4_addr : verdict; }}
 map ingress {{ type ipv4_addr : verdict; }}
 chain forward {{
  type filter hook forward priority filter;
  ct state established,related accept
  ip saddr @gated ip saddr != @known drop
  ip daddr @gated ip daddr != @known drop
  ip saddr . ip daddr @own accept
  ip saddr vmap @egress
  ip daddr vmap @ingress
 }}
}}
"
    )
}

/// A table that lets nothing new pass to or from pods, for as long as it is not known what may. It is refused when there
/// is a table already, whose rules still hold.
pub(crate) fn closed(name: &str, pods: Ipv4Net) -> String {
    format!("create table ip {name}\n{}add element ip {name} gated {{ {pods} }}\n", frame(name))
}
