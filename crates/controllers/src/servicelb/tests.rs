use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use client::ObjectKey;
use k8s_openapi::api::core::v1::{Node, Service};
use serde_json::json;

use super::plan::{Asker, Door, Host, host, is_ours, share};

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn hosts(count: u8) -> Vec<Host> {
    (1..=count).map(|n| Host { name: format!("n{n}"), address: ip(n) }).collect()
}

fn wants(name: &str, port: u16) -> Asker {
    let (doors, has) = (vec![("TCP", port)], BTreeSet::new());
    Asker { key: ObjectKey::new("ns", name), doors, has, nodes: None, only: None }
}

/// Who gets which last numbers; why not, of those who get none.
fn shared(askers: &[Asker], hosts: &[Host], taken: &BTreeMap<Door, String>) -> Vec<String> {
    let shares = share(askers, hosts, taken);
    let of = |asker: &Asker| {
        let share = &shares[&asker.key];
        let numbers: Vec<String> = share.addresses.iter().map(ToString::to_string).collect();
        share.pending.clone().unwrap_or_else(|| numbers.join(" "))
    };
    askers.iter().map(of).collect()
}

fn free() -> BTreeMap<Door, String> {
    BTreeMap::new()
}

#[test]
fn a_service_alone_is_at_every_node() {
    assert_eq!(shared(&[wants("a", 80)], &hosts(2), &free()), ["192.0.2.1 192.0.2.2"]);
    assert_eq!(shared(&[wants("a", 80), wants("b", 81)], &hosts(1), &free()), ["192.0.2.1", "192.0.2.1"]);
}

#[test]
fn services_that_want_the_same_port_share_the_nodes() {
    let askers = [wants("a", 80), wants("b", 80)];
    assert_eq!(shared(&askers, &hosts(3), &free()), ["192.0.2.1 192.0.2.3", "192.0.2.2"]);
    let late = "no node has its ports free: port 80/TCP of node n1 belongs to service ns/a";
    assert_eq!(shared(&askers, &hosts(1), &free()), ["192.0.2.1", late]);
    let udp = Asker { doors: vec![("UDP", 80)], ..wants("b", 80) };
    assert_eq!(shared(&[wants("a", 80), udp], &hosts(1), &free()), ["192.0.2.1", "192.0.2.1"]);
}

#[test]
fn who_has_a_node_stays_there() {
    let settled = Asker { has: BTreeSet::from([ip(1)]), ..wants("b", 80) };
    let first = Asker { has: BTreeSet::from([ip(2)]), ..wants("a", 80) };
    assert_eq!(shared(&[first, settled], &hosts(2), &free()), ["192.0.2.2", "192.0.2.1"]);
}

#[test]
fn what_the_node_needs_itself_is_not_given_away() {
    let taken = BTreeMap::from([((ip(1), "TCP", 6443), "the API server".to_owned())]);
    assert_eq!(shared(&[wants("a", 6443)], &hosts(2), &taken), ["192.0.2.2"]);
    let why = "no node has its ports free: port 6443/TCP of node n1 belongs to the API server";
    assert_eq!(shared(&[wants("a", 6443)], &hosts(1), &taken), [why]);
}

#[test]
fn it_may_ask_for_less() {
    let local = Asker { nodes: Some(BTreeSet::from(["n2".to_owned()])), ..wants("a", 80) };
    assert_eq!(shared(&[local], &hosts(2), &free()), ["192.0.2.2"]);
    let nowhere = Asker { nodes: Some(BTreeSet::new()), ..wants("a", 80) };
    let why = "no ready node has an endpoint, and externalTrafficPolicy is Local";
    assert_eq!(shared(&[nowhere], &hosts(2), &free()), [why]);
    let one = |last| Asker { only: Some(ip(last)), ..wants("a", 80) };
    assert_eq!(shared(&[one(2)], &hosts(2), &free()), ["192.0.2.2"]);
    assert!(shared(&[one(9)], &hosts(2), &free())[0].contains("192.0.2.9"));
    assert_eq!(shared(&[wants("a", 80)], &[], &free()), ["no node is ready to lend its address"]);
}

#[test]
fn other_classes_are_left_alone() {
    let service = |spec| serde_json::from_value::<Service>(json!({ "spec": spec })).unwrap();
    assert!(is_ours(&service(json!({ "type": "LoadBalancer" }))));
    assert!(is_ours(&service(json!({ "type": "LoadBalancer", "loadBalancerClass": "oxikube/servicelb" }))));
    assert!(!is_ours(&service(json!({ "type": "LoadBalancer", "loadBalancerClass": "example.com/other" }))));
    assert!(!is_ours(&service(json!({ "type": "NodePort" }))));
}

#[test]
fn a_node_lends_its_outer_address_while_it_is_ready() {
    let node = |ready: &str, labels| {
        let status = json!({
            "conditions": [{ "type": "Ready", "status": ready }],
            "addresses": [{ "type": "InternalIP", "address": "10.0.0.1" }, { "type": "ExternalIP", "address": "192.0.2.1" }],
        });
        let node = json!({ "metadata": { "name": "n1", "labels": labels }, "status": status });
        host(&serde_json::from_value::<Node>(node).unwrap())
    };
    assert_eq!(node("True", json!({})), Some(Host { name: "n1".into(), address: ip(1) }));
    assert_eq!(node("False", json!({})), None);
    assert_eq!(node("True", json!({ "node.kubernetes.io/exclude-from-external-load-balancers": "" })), None);
}
