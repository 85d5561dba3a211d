//! The packet filter table as data, and the transactions that lead from one to the next. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Mark of connections that are to be masqueraded, as upstream has it.
const MASQUERADE: u32 = 0x4000;

/// Everything in the table that follows from services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// Map name and key to value.
    maps: BTreeMap<(&'static str, String), String>,
    /// Set name and element.
    sets: BTreeSet<(&'static str, String)>,
    chains: BTreeMap<String, Vec<String>>,
    /// Sets of clients, with how many seconds each is remembered.
    clients: BTreeMap<String, i32>,
}

impl Table {
    pub(crate) fn map(&mut self, name: &'static str, key: String, value: String) {
        self.maps.insert((name, key), value);
    }

    pub(crate) fn set(&mut self, name: &'static str, element: String) {
        self.sets.insert((name, element));
    }

    pub(crate) fn chain(&mut self, name: &str, rules: Vec<String>) {
        self.chains.insert(name.to_owned(), rules);
    }

    pub(crate) fn clients(&mut self, name: &str, seconds: i32) {
        self.clients.insert(name.to_owned(), seconds);
    }

    #[cfg(test)]
    pub(crate) fn rules(&self, chain: &str) -> Vec<String> {
        self.chains.get(chain).cloned().unwrap_or_default()
    }

    #[cfg(test)]
    pub(crate) fn lookup(&self, map: &'static str, key: &str) -> Option<&str> {
        self.maps.get(&(map, key.to_owned())).map(String::as_str)
    }

    #[cfg(test)]
    pub(crate) fn has(&self, set: &'static str, element: &str) -> bool {
        self.sets.contains(&(set, element.to_owned()))
    }

    /// The whole table anew, in place of whatever is there.
    pub(crate) fn rebuild(&self, name: &str) -> String {
        format!("{}{}{}", removal(name), frame(name), self.change_from(&Self::default(), name))
    }

    /// What leads from `old` to this one; empty when nothing does.
    pub(crate) fn change_from(&self, old: &Self, name: &str) -> String {
        let mut out = String::new();
        self.add_containers(old, name, &mut out);
        // Elements first that go: nothing may point to a chain when it goes.
        let gone = old.maps.iter().filter(|(key, value)| self.maps.get(*key) != Some(value));
        for ((map, key), _) in gone {
            line(&mut out, format_args!("delete element ip {name} {map} {{ {key} }}"));
        }
        for (set, element) in old.sets.difference(&self.sets) {
            line(&mut out, format_args!("delete element ip {name} {set} {{ {element} }}"));
        }
        let new = self.maps.iter().filter(|(key, value)| old.maps.get(*key) != Some(value));
        for ((map, key), value) in new {
            line(&mut out, format_args!("add element ip {name} {map} {{ {key} : {value} }}"));
        }
        for (set, element) in self.sets.difference(&old.sets) {
            line(&mut out, format_args!("add element ip {name} {set} {{ {element} }}"));
        }
        self.remove_containers(old, name, &mut out);
        out
    }

    fn add_containers(&self, old: &Self, name: &str, out: &mut String) {
        for (set, seconds) in self.clients.iter().filter(|(set, _)| !old.clients.contains_key(*set)) {
            let flags = format!("type ipv4_addr; flags dynamic,timeout; timeout {seconds}s;");
            line(out, format_args!("add set ip {name} {set} {{ {flags} }}"));
        }
        let changed: Vec<_> =
            self.chains.iter().filter(|(chain, rules)| old.chains.get(*chain) != Some(rules)).collect();
        for (chain, _) in &changed {
            line(out, format_args!("add chain ip {name} {chain}"));
            line(out, format_args!("flush chain ip {name} {chain}"));
        }
        for (chain, rules) in changed {
            for rule in rules {
                line(out, format_args!("add rule ip {name} {chain} {rule}"));
            }
        }
    }

    fn remove_containers(&self, old: &Self, name: &str, out: &mut String) {
        let gone: Vec<_> = old.chains.keys().filter(|chain| !self.chains.contains_key(*chain)).collect();
        for verb in ["flush", "delete"] {
            for chain in &gone {
                line(out, format_args!("{verb} chain ip {name} {chain}"));
            }
        }
        for set in old.clients.keys().filter(|set| !self.clients.contains_key(*set)) {
            line(out, format_args!("delete set ip {name} {set}"));
        }
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _infallible = writeln!(out, "{text}");
}

/// Removes the table, whether it is there or not.
pub(crate) fn removal(name: &str) -> String {
    format!("add table ip {name}\ndelete table ip {name}\n")
}

/// What is in the table whatever services there are.
fn frame(name: &str) -> String {
    format!(
        "table ip {name} {{
 map services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
 map nodeports {{ type inet_proto . inet_service : verdict; }}
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

#[cfg(test)]
mod tests {
    use super::*;

    fn table(value: &str) -> Table {
        let mut table = Table::default();
        table.map("services", "k".into(), format!("goto {value}"));
        table.chain(value, vec!["accept".into()]);
        table
    }

    #[test]
    fn nothing_changes_nothing() {
        assert_eq!(table("a").change_from(&table("a"), "t"), "");
    }

    #[test]
    fn a_changed_element_is_replaced_between_its_chains() {
        let script = table("b").change_from(&table("a"), "t");
        let lines: Vec<_> = script.lines().collect();
        let expected = [
            "add chain ip t b",
            "flush chain ip t b",
            "add rule ip t b accept",
            "delete element ip t services { k }",
            "add element ip t services { k : goto b }",
            "flush chain ip t a",
            "delete chain ip t a",
        ];
        assert_eq!(lines, expected);
    }
}
