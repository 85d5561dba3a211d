use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

use super::*;

/// A pod as `NAMESPACE/APP ADDRESS@NODE`, with a port `web` whose number is 8000 and the last of its address.
fn pod(text: &str) -> Arc<PodEntry> {
    let (names, place) = text.split_once(' ').unwrap();
    let ((namespace, app), (address, node)) = (names.split_once('/').unwrap(), place.split_once('@').unwrap());
    let last: u16 = address.rsplit('.').next().unwrap().parse().unwrap();
    Arc::new(PodEntry {
        namespace: namespace.into(),
        labels: BTreeMap::from([("app".to_owned(), app.to_owned())]),
        node: node.into(),
        address: Some(address.parse().unwrap()),
        ports: vec![("web".into(), "TCP".into(), 8000 + last)],
    })
}

const PODS: [&str; 4] =
    ["a/web 10.244.0.2@n1", "a/client 10.244.0.3@n1", "b/client 10.244.1.4@n2", "b/web 10.244.1.5@n2"];

fn policy(spec: Value) -> Arc<NetworkPolicy> {
    let policy = json!({ "metadata": { "namespace": "a", "name": "p" }, "spec": spec });
    Arc::new(serde_json::from_value(policy).unwrap())
}

/// The rules of policies of namespace `a` on node `n1`; namespace `b` has the label `team: b`.
pub(super) fn table_of(specs: &[Value]) -> Table {
    let pods: Vec<_> = PODS.iter().map(|text| pod(text)).collect();
    let labels = |name: &str| Arc::new(BTreeMap::from([("team".to_owned(), name.to_owned())]));
    let namespaces = BTreeMap::from(["a", "b"].map(|name| (name.to_owned(), labels(name))));
    let policies: Vec<_> = specs.iter().map(|spec| policy(spec.clone())).collect();
    let range = Some("10.244.0.0/24".parse().unwrap());
    table(&policies, &View { pods: &pods, namespaces: &namespaces, node: "n1", range })
}

/// What may reach (or leave) an address, with each set as its elements.
fn rules(table: &Table, direction: &'static str, address: &str) -> Vec<String> {
    let Some(jump) = table.lookup(direction, address) else { return vec!["free".into()] };
    let rules = table.rules(jump.strip_prefix("jump ").unwrap());
    let open = |rule: &String| {
        let words = rule.split(' ').map(|word| match word.strip_prefix('@') {
            Some(set) => format!("[{}]", table.elements(set).join(", ")),
            None => word.to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    };
    rules.iter().map(open).collect()
}

fn ingress(rule: Value) -> Vec<String> {
    let spec = json!({ "podSelector": { "matchLabels": { "app": "web" } }, "ingress": [rule] });
    rules(&table_of(&[spec]), "ingress", "10.244.0.2")
}

#[test]
fn without_policies_nothing_is_in_the_way() {
    assert_eq!(table_of(&[]), Table::default());
}

#[test]
fn a_policy_isolates_the_pods_that_it_selects() {
    let table = table_of(&[json!({ "podSelector": { "matchLabels": { "app": "web" } } })]);
    assert_eq!(rules(&table, "ingress", "10.244.0.2"), ["drop"]);
    assert_eq!(rules(&table, "egress", "10.244.0.2"), ["free"]);
    assert_eq!(rules(&table, "ingress", "10.244.0.3"), ["free"], "another pod");
    assert_eq!(rules(&table, "ingress", "10.244.1.5"), ["free"], "another namespace and node");
    assert!(table.has("own", "10.244.0.2 . 10.244.0.2"));
    let all = table_of(&[json!({ "podSelector": {}, "policyTypes": ["Egress"] })]);
    assert_eq!(rules(&all, "egress", "10.244.0.3"), ["drop"]);
    assert_eq!(rules(&all, "ingress", "10.244.0.3"), ["free"]);
}

#[test]
fn addresses_of_this_node_wait_until_their_pod_is_known() {
    let table = table_of(&[json!({ "podSelector": { "matchLabels": { "app": "none" } } })]);
    assert!(table.has("gated", "10.244.0.0/24"));
    assert!(table.has("known", "10.244.0.2") && table.has("known", "10.244.0.3") && !table.has("known", "10.244.1.4"));
}

#[test]
fn peers_are_pods_namespaces_or_both() {
    let from = |peer: Value| ingress(json!({ "from": [peer] }));
    let client = json!({ "matchLabels": { "app": "client" } });
    let team = |name: &str| json!({ "matchLabels": { "team": name } });
    assert_eq!(ingress(json!({})), ["return", "drop"]);
    assert_eq!(from(json!({ "podSelector": client })), ["ip saddr [10.244.0.3] return", "drop"]);
    let everywhere = ["ip saddr [10.244.0.3, 10.244.1.4] return", "drop"];
    assert_eq!(from(json!({ "podSelector": client, "namespaceSelector": {} })), everywhere);
    let team_b = ["ip saddr [10.244.1.4, 10.244.1.5] return", "drop"];
    assert_eq!(from(json!({ "namespaceSelector": team("b") })), team_b);
    let both = json!({ "podSelector": client, "namespaceSelector": team("b") });
    assert_eq!(from(both), ["ip saddr [10.244.1.4] return", "drop"]);
    assert_eq!(from(json!({ "namespaceSelector": team("c") })), ["ip saddr [] return", "drop"]);
}

#[test]
fn blocks_have_holes() {
    let from = |block: Value| ingress(json!({ "from": [{ "ipBlock": block }] }));
    let holes = json!({ "cidr": "192.0.2.0/24", "except": ["192.0.2.0/30", "192.0.2.2/31", "192.0.2.9/32"] });
    assert_eq!(from(holes), ["ip saddr 192.0.2.0/24 ip saddr != { 192.0.2.0/30, 192.0.2.9/32 } return", "drop"]);
    assert_eq!(from(json!({ "cidr": "0.0.0.0/0" })), ["return", "drop"]);
    let but = json!({ "cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"] });
    assert_eq!(from(but), ["ip saddr != { 10.0.0.0/8 } return", "drop"]);
    assert_eq!(from(json!({ "cidr": "fd00::/8" })), ["drop"]);
}

#[test]
fn ports_are_numbers_ranges_names_or_whole_protocols() {
    let ports = |ports: Value| ingress(json!({ "ports": ports }));
    assert_eq!(ports(json!([{ "port": 80 }])), ["tcp dport { 80 } return", "drop"]);
    let several =
        json!([{ "port": 80 }, { "port": 81, "endPort": 90 }, { "port": 85 }, { "port": 53, "protocol": "UDP" }]);
    assert_eq!(ports(several), ["tcp dport { 80-90 } return", "udp dport { 53 } return", "drop"]);
    assert_eq!(ports(json!([{ "protocol": "SCTP" }])), ["meta l4proto sctp return", "drop"]);
    assert_eq!(ports(json!([{ "port": "web" }])), ["tcp dport { 8002 } return", "drop"], "the pod's own number");
    assert_eq!(ports(json!([{ "port": "absent" }])), ["drop"]);
    let both = ingress(json!({ "ports": [{ "port": 80 }], "from": [{ "podSelector": {} }] }));
    assert_eq!(both, ["ip saddr [10.244.0.2, 10.244.0.3] tcp dport { 80 } return", "drop"]);
}

#[test]
fn a_named_port_of_a_peer_is_the_peers_number() {
    let egress = |rule: Value| {
        let spec = json!({ "podSelector": {}, "policyTypes": ["Egress"], "egress": [rule] });
        rules(&table_of(&[spec]), "egress", "10.244.0.3")
    };
    let to_web = json!({ "podSelector": { "matchLabels": { "app": "web" } }, "namespaceSelector": {} });
    let named = egress(json!({ "to": [to_web], "ports": [{ "port": "web" }] }));
    let expected = "ip daddr . meta l4proto . th dport [10.244.0.2 . tcp . 8002, 10.244.1.5 . tcp . 8005] return";
    assert_eq!(named, [expected, "drop"]);
    let anywhere = egress(json!({ "ports": [{ "port": "web" }, { "port": 53, "protocol": "UDP" }] }));
    assert!(
        anywhere[0].contains("10.244.0.3 . tcp . 8003") && anywhere[1] == "udp dport { 53 } return",
        "{anywhere:?}"
    );
}

#[test]
fn policies_add_up() {
    let allow = |port: u16| json!({ "podSelector": {}, "ingress": [{ "ports": [{ "port": port }] }] });
    let table = table_of(&[allow(80), allow(81), json!({ "podSelector": {} })]);
    assert_eq!(rules(&table, "ingress", "10.244.0.2"), ["tcp dport { 80 } return", "tcp dport { 81 } return", "drop"]);
    assert_eq!(table.lookup("ingress", "10.244.0.2"), table.lookup("ingress", "10.244.0.3"), "same rules, one chain");
}

#[test]
fn pods_without_an_address_of_their_own_are_left_out() {
    let entry = |spec: Value, phase: &str| {
        let pod = json!({ "metadata": {}, "spec": spec, "status": { "phase": phase, "podIP": "10.244.0.9" } });
        pod_entry(serde_json::from_value::<Pod>(pod).unwrap()).address.is_some()
    };
    assert!(entry(json!({ "containers": [] }), "Running"));
    assert!(!entry(json!({ "containers": [], "hostNetwork": true }), "Running"));
    assert!(!entry(json!({ "containers": [] }), "Succeeded"));
}
