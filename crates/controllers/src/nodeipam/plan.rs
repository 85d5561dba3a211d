//! Which ranges are taken. Pure.

use std::collections::{HashMap, HashSet};

use ipnet::IpNet;

pub(super) struct Ranges {
    cluster: IpNet,
    mask: u8,
    by_node: HashMap<String, IpNet>,
    taken: HashSet<IpNet>,
}

impl Ranges {
    pub(super) fn new(cluster: IpNet, mask: u8) -> Self {
        Self { cluster, mask, by_node: HashMap::new(), taken: HashSet::new() }
    }

    /// The node has this range.
    pub(super) fn occupy(&mut self, node: &str, range: IpNet) {
        if self.by_node.get(node) == Some(&range) {
            return;
        }
        self.release(node);
        self.by_node.insert(node.to_owned(), range);
        self.taken.insert(range);
    }

    /// The node is gone.
    pub(super) fn release(&mut self, node: &str) {
        if let Some(range) = self.by_node.remove(node) {
            self.taken.remove(&range);
        }
    }

    /// Somebody else has the range that was taken for the node.
    pub(super) fn lost(&mut self, node: &str) {
        self.by_node.remove(node);
    }

    /// The first free range, taken for the node from now on; the same again if it has one.
    pub(super) fn take(&mut self, node: &str) -> Option<IpNet> {
        if let Some(range) = self.by_node.get(node) {
            return Some(*range);
        }
        let free = |range: &IpNet| !self.taken.contains(range) && !self.taken.iter().any(|t| overlap(t, range));
        let range = self.cluster.subnets(self.mask).ok()?.find(free)?;
        self.occupy(node, range);
        Some(range)
    }
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_given_once_and_taken_back() {
        let mut ranges = Ranges::new("10.244.0.0/22".parse().unwrap(), 24);
        ranges.occupy("a", "10.244.0.0/24".parse().unwrap());
        let mut take = |node: &str| ranges.take(node).map(|range| range.to_string());
        assert_eq!(take("b").unwrap(), "10.244.1.0/24");
        assert_eq!(take("b").unwrap(), "10.244.1.0/24");
        assert_eq!(take("c").unwrap(), "10.244.2.0/24");
        assert_eq!(take("d").unwrap(), "10.244.3.0/24");
        assert_eq!(take("e"), None);
        ranges.release("a");
        assert_eq!(ranges.take("e").unwrap().to_string(), "10.244.0.0/24");
    }

    #[test]
    fn a_range_that_another_node_was_given_is_not_tried_again() {
        let mut ranges = Ranges::new("10.244.0.0/22".parse().unwrap(), 24);
        assert_eq!(ranges.take("a").unwrap().to_string(), "10.244.0.0/24");
        ranges.lost("a");
        assert_eq!(ranges.take("a").unwrap().to_string(), "10.244.1.0/24");
    }

    #[test]
    fn a_range_of_another_size_blocks_what_it_overlaps() {
        let mut ranges = Ranges::new("10.0.0.0/22".parse().unwrap(), 24);
        ranges.occupy("a", "10.0.0.0/23".parse().unwrap());
        assert_eq!(ranges.take("b").unwrap().to_string(), "10.0.2.0/24");
    }
}
