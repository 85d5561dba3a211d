//! Real packets through the kernel, in a network namespace of the test's own: needs root.

use std::net::Ipv4Addr;

use serde_json::json;
use sys::nft::{Kernel, Ruleset};

use super::tests::table_of;
use super::{closed, frame};
use crate::rules::traffic::{Lab, ask};
use crate::table::Table;
use sys::namespace::within_net;

#[test]
fn policies_hold_for_forwarded_packets() {
    Lab::run(|dir| async move {
        let (a, b) = (dir.join("a/net"), dir.join("b/net"));
        // Pod `a` is namespace a's `web`, pod `b` its `client`: both answer on 8080.
        let from_b = || within_net(&b, || ask("10.244.0.2", 8080)).is_ok();
        let from_a = || within_net(&a, || ask("10.244.0.3", 8080)).is_ok();
        let node = Ipv4Addr::new(10, 244, 0, 2).to_string();
        Kernel.apply(closed("t", "10.244.0.0/16".parse().unwrap())).await.unwrap();
        assert!(!from_b(), "nothing passes until it is known what may");
        assert!(Kernel.apply(closed("t", "10.244.0.0/16".parse().unwrap())).await.is_err());
        Kernel.apply(Table::default().rebuild(frame, "t")).await.unwrap();
        assert!(from_b());

        let web = json!({ "matchLabels": { "app": "web" } });
        let allow = |rule| json!({ "podSelector": web, "ingress": [rule] });
        let mut old = Table::default();
        let deny = table_of(&[json!({ "podSelector": web })]);
        let open = table_of(&[allow(json!({ "from": [{ "podSelector": {} }], "ports": [{ "port": 8080 }] }))]);
        let other = table_of(&[allow(
            json!({ "from": [{ "ipBlock": { "cidr": "10.0.0.0/8", "except": ["10.244.0.3/32"] } }] }),
        )]);
        let sending =
            json!({ "podSelector": web, "policyTypes": ["Egress"], "egress": [{ "ports": [{ "port": "none" }] }] });
        for (new, reaches, leaves) in [
            (deny, false, true),
            (open, true, true),
            (other, false, true),
            (table_of(&[sending]), true, false),
            (Table::default(), true, true),
        ] {
            Kernel.apply(new.change_from(&old, "t")).await.unwrap();
            assert_eq!((from_b(), from_a()), (reaches, leaves), "{new:?}");
            assert!(ask(&node, 8080).is_ok(), "the node itself reaches its pods");
            old = new;
        }
    });
}
