//! UDP flows to endpoints that are gone: the kernel would go on sending them there. Pure, but for [`forget_stale`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use sys::conntrack::{self, Flow};

use crate::rules::Target;

/// Where clients send to: an address, or any of the node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Front {
    pub address: Option<Ipv4Addr>,
    pub port: u16,
}

/// Who may answer at each front.
pub(crate) type Fronts = BTreeMap<Front, BTreeSet<Target>>;

/// Whether flows that were right may be wrong now. Flows to a new front may have begun before it was one.
pub(crate) fn may_be_stale(old: &Fronts, new: &Fronts) -> bool {
    old.iter().any(|(front, targets)| new.get(front).is_none_or(|now| !targets.is_subset(now)))
        || new.iter().any(|(front, targets)| !targets.is_empty() && old.get(front).is_none_or(BTreeSet::is_empty))
}

/// Flows that come to a front of now or before, and go to nobody who stands behind it now.
fn stale(flows: Vec<Flow>, old: &Fronts, new: &Fronts) -> Vec<Flow> {
    let is_stale = |flow: &Flow| {
        let (address, port) = (*flow.destination.ip(), flow.destination.port());
        let fronts = [Front { address: Some(address), port }, Front { address: None, port }];
        let Some(front) = fronts.iter().find(|front| old.contains_key(front) || new.contains_key(front)) else {
            return false;
        };
        let target = Target { address: *flow.server.ip(), port: flow.server.port() };
        !new.get(front).is_some_and(|targets| targets.contains(&target))
    };
    flows.into_iter().filter(is_stale).collect()
}

/// Makes the kernel forget them.
pub(crate) async fn forget_stale(old: Arc<Fronts>, new: Arc<Fronts>) {
    let work = move || {
        let stale = stale(conntrack::udp_flows()?, &old, &new);
        conntrack::forget(&stale).map(|()| stale.len())
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(0)) => {}
        Ok(Ok(count)) => tracing::debug!(count, "UDP flows to endpoints that are gone were forgotten"),
        Ok(Err(error)) => tracing::warn!(%error, "UDP flows may go on to endpoints that are gone"),
        Err(error) => tracing::error!(%error, "looking at UDP flows broke"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(last: u8) -> Target {
        Target { address: Ipv4Addr::new(10, 244, 0, last), port: 53 }
    }

    fn fronts(targets: &[u8]) -> Fronts {
        let front = Front { address: Some(Ipv4Addr::new(10, 96, 0, 5)), port: 53 };
        Fronts::from([(front, targets.iter().map(|last| target(*last)).collect())])
    }

    #[test]
    fn only_a_loss_or_a_beginning_is_looked_at() {
        assert!(may_be_stale(&fronts(&[2, 3]), &fronts(&[3])));
        assert!(may_be_stale(&fronts(&[2]), &Fronts::new()));
        assert!(may_be_stale(&fronts(&[]), &fronts(&[2])), "clients may have sent in vain before");
        assert!(may_be_stale(&Fronts::new(), &fronts(&[2])));
        assert!(!may_be_stale(&fronts(&[2]), &fronts(&[2, 3])));
        assert!(!may_be_stale(&fronts(&[]), &fronts(&[])));
    }

    /// Real flows, in a network namespace of the test's own: needs root.
    #[test]
    fn flows_to_a_lost_endpoint_are_found() {
        use std::net::UdpSocket;
        use sys::nft::{Kernel, Ruleset};
        let done = std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let rules = "table ip t {\n chain output {\n type nat hook output priority -100;\n \
                         ip daddr 127.0.0.9 udp dport 53 dnat to 127.0.0.2:53\n }\n}\n";
            runtime.block_on(async {
                sys::netlink::Netlink::here().unwrap().up("lo").await.unwrap();
                Kernel.apply(rules.to_owned()).await.unwrap();
            });
            let _server = UdpSocket::bind("127.0.0.2:53").unwrap();
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.send_to(b"x", "127.0.0.9:53").unwrap();
            client.send_to(b"x", "127.0.0.2:53").unwrap();
            let lo = |last| Ipv4Addr::new(127, 0, 0, last);
            let front = Front { address: Some(lo(9)), port: 53 };
            let to = |last: u8| Fronts::from([(front, BTreeSet::from([Target { address: lo(last), port: 53 }]))]);
            let flows = || conntrack::udp_flows().unwrap();
            assert_eq!(stale(flows(), &to(2), &to(2)), []);
            let found = stale(flows(), &to(2), &to(3));
            assert_eq!(found.iter().map(|flow| *flow.destination.ip()).collect::<Vec<_>>(), [lo(9)]);
            assert_eq!(stale(flows(), &to(2), &Fronts::new()), found, "the service is gone");
        });
        done.join().unwrap();
    }
}
