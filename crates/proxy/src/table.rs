//! The packet filter table as data, and the transactions that lead from one to the next. Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Name of a map or set: of the frame, or made for an object.
type Name = Cow<'static, str>;

/// Everything in a table that follows from objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// Map name and key to value.
    maps: BTreeMap<(Name, String), String>,
    /// Set name and element.
    sets: BTreeSet<(Name, String)>,
    chains: BTreeMap<String, Vec<String>>,
    /// Sets that the frame does not have, with what they hold.
    declared: BTreeMap<Name, String>,
}

impl Table {
    pub(crate) fn map(&mut self, name: impl Into<Name>, key: String, value: String) {
        self.maps.insert((name.into(), key), value);
    }

    pub(crate) fn set(&mut self, name: impl Into<Name>, element: String) {
        self.sets.insert((name.into(), element));
    }

    pub(crate) fn chain(&mut self, name: &str, rules: Vec<String>) {
        self.chains.insert(name.to_owned(), rules);
    }

    /// A set of its own. What it holds may not change under the same name.
    pub(crate) fn declare(&mut self, name: impl Into<Name>, holds: String) {
        self.declared.insert(name.into(), holds);
    }

    #[cfg(test)]
    pub(crate) fn rules(&self, chain: &str) -> Vec<String> {
        self.chains.get(chain).cloned().unwrap_or_default()
    }

    #[cfg(test)]
    pub(crate) fn lookup(&self, map: &'static str, key: &str) -> Option<&str> {
        self.maps.get(&(map.into(), key.to_owned())).map(String::as_str)
    }

    #[cfg(test)]
    pub(crate) fn has(&self, set: &str, element: &str) -> bool {
        self.sets.contains(&(set.to_owned().into(), element.to_owned()))
    }

    #[cfg(test)]
    pub(crate) fn elements(&self, set: &str) -> Vec<String> {
        self.sets.iter().filter(|(name, _)| name == set).map(|(_, element)| element.clone()).collect()
    }

    /// The whole table anew in its frame, in place of whatever is there.
    pub(crate) fn rebuild(&self, frame: fn(&str) -> String, name: &str) -> String {
        format!("{}{}{}", removal(name), frame(name), self.change_from(&Self::default(), name))
    }

    /// What leads from `old` to this one; empty when nothing does.
    pub(crate) fn change_from(&self, old: &Self, name: &str) -> String {
        let mut out = String::new();
        self.add_containers(old, name, &mut out);
        // Elements first that go: nothing may point to a chain when it goes. Sets that go take theirs along.
        let stays = |set: &Name| !old.declared.contains_key(set) || self.declared.contains_key(set);
        let gone = old.maps.iter().filter(|(key, value)| self.maps.get(*key) != Some(value));
        elements("delete", name, gone.map(|((map, key), _)| (map, Cow::Borrowed(key.as_str()))), &mut out);
        let gone = old.sets.difference(&self.sets).filter(|(set, _)| stays(set));
        elements("delete", name, gone.map(|(set, element)| (set, Cow::Borrowed(element.as_str()))), &mut out);
        let new = self.maps.iter().filter(|(key, value)| old.maps.get(*key) != Some(value));
        let new = new.map(|((map, key), value)| (map, Cow::Owned(format!("{key} : {value}"))));
        elements("add", name, new, &mut out);
        let new = self.sets.difference(&old.sets);
        elements("add", name, new.map(|(set, element)| (set, Cow::Borrowed(element.as_str()))), &mut out);
        self.remove_containers(old, name, &mut out);
        out
    }

    fn add_containers(&self, old: &Self, name: &str, out: &mut String) {
        for (set, holds) in self.declared.iter().filter(|(set, _)| !old.declared.contains_key(*set)) {
            line(out, format_args!("add set ip {name} {set} {{ {holds} }}"));
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
        for set in old.declared.keys().filter(|set| !self.declared.contains_key(*set)) {
            line(out, format_args!("delete set ip {name} {set}"));
        }
    }
}

/// One line a map or set: its elements stand together.
fn elements<'a>(verb: &str, table: &str, elements: impl Iterator<Item = (&'a Name, Cow<'a, str>)>, out: &mut String) {
    let mut current: Option<&Name> = None;
    for (set, element) in elements {
        if current == Some(set) {
            let _infallible = write!(out, ", {element}");
            continue;
        }
        if current.is_some() {
            out.push_str(" }\n");
        }
        let _infallible = write!(out, "{verb} element ip {table} {set} {{ {element}");
        current = Some(set);
    }
    if current.is_some() {
        out.push_str(" }\n");
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _infallible = writeln!(out, "{text}");
}

/// Removes the table, whether it is there or not.
pub(crate) fn removal(name: &str) -> String {
    format!("add table ip {name}\ndelete table ip {name}\n")
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

    #[test]
    fn a_set_of_its_own_takes_its_elements_along() {
        let mut old = Table::default();
        old.declare("peers", "type ipv4_addr;".into());
        old.set("peers", "192.0.2.1".into());
        old.set("peers", "192.0.2.2".into());
        let made = old.change_from(&Table::default(), "t");
        assert_eq!(made, "add set ip t peers { type ipv4_addr; }\nadd element ip t peers { 192.0.2.1, 192.0.2.2 }\n");
        assert_eq!(Table::default().change_from(&old, "t"), "delete set ip t peers\n");
    }
}
