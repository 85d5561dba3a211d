//! What is in the table of services whatever services there are.

/// Mark of connections that are to be masqueraded, as upstream has it.
const MASQUERADE: u32 = 0x4000;

/// The maps that lead a packet to its service, and the hooks that look into them.
pub(crate) fn frame(name: &str) -> String {
    format!(
        "table ip {name} {{
 map services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
 map nodeports {{ type inet_proto . inet_service : verdict; }}
 map firewall {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
 set cluster_ips {{ type ipv4_addr; }}
 set hairpin {{ type ipv4_addr . ipv4_addr; }}
 set services_reject {{ type ipv4_addr . inet_proto . inet_service; }}
 set services_drop {{ type ipv4_addr . inet_proto . inet_service; }}
 set nodeports_reject {{ type inet_proto . inet_service; }}
 chain to-masquerade {{
  meta mark set meta mark or {MASQUERADE:#x}
 }}
 chain to-drop {{
  drop
 }}
 chain dispatch {{
  ip daddr . meta l4proto . th dport vmap @services
  fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @nodeports
 }}
 chain filter-prerouting {{
  type filter hook prerouting priority dstnat - 10;
  ct state new ip daddr . meta l4proto . th dport vmap @firewall
 }}
 chain filter-output-before {{
  type filter hook output priority -110;
  ct state new ip daddr . meta l4proto . th dport vmap @firewall
 }}
 chain prerouting {{
  type nat hook prerouting priority dstnat;
  jump dispatch
 }}
 chain output {{
  type nat hook output priority -100;
  jump dispatch
 }}
 chain refuse {{
  ip daddr . meta l4proto . th dport @services_drop drop
  ip daddr . meta l4proto . th dport @services_reject reject
  fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport @nodeports_reject reject
  ip daddr @cluster_ips reject
 }}
 chain filter-input {{
  type filter hook input priority -1;
  ct state new jump refuse
 }}
 chain filter-forward {{
  type filter hook forward priority -1;
  ct state new jump refuse
 }}
 chain filter-output {{
  type filter hook output priority -1;
  ct state new jump refuse
 }}
 chain postrouting {{
  type nat hook postrouting priority srcnat;
  meta mark & {MASQUERADE:#x} == {MASQUERADE:#x} meta mark set meta mark xor {MASQUERADE:#x} masquerade fully-random
  ct status dnat ip saddr . ip daddr @hairpin masquerade fully-random
 }}
}}
"
    )
}
