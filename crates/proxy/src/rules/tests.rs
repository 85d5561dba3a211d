use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

fn place() -> Place {
    Place {
        node: "n1".into(),
        zone: Some("z1".into()),
        cluster_cidr: Some("10.244.0.0/16".parse().unwrap()),
        answered_here: Vec::new(),
    }
}

fn service(spec: Value) -> Service {
    let mut full = json!({ "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"], "ports": [{ "port": 80 }] });
    full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(json!({ "metadata": { "namespace": "ns", "name": "web" }, "spec": full })).unwrap()
}

/// Endpoints as `ADDRESS@NODE`, with `!` before one that is not ready and `~` before one that ends but serves.
fn slice(endpoints: &[&str]) -> EndpointSlice {
    let endpoint = |text: &&str| {
        let (address, node) = text.trim_start_matches(['!', '~']).split_once('@').unwrap();
        let ready = !text.starts_with(['!', '~']);
        let ends = text.starts_with('~');
        json!({ "addresses": [address], "nodeName": node, "conditions": { "ready": ready, "serving": ready || ends, "terminating": ends } })
    };
    let endpoints: Vec<Value> = endpoints.iter().map(endpoint).collect();
    serde_json::from_value(
        json!({ "addressType": "IPv4", "ports": [{ "port": 8080 }], "endpoints": endpoints, "metadata": {} }),
    )
    .unwrap()
}

pub(super) fn table_of(spec: Value, endpoints: &[&str]) -> Table {
    let (service, slice) = (service(spec), Arc::new(slice(endpoints)));
    table([&service], |_, _| vec![slice.clone()], &place()).table
}

const CHAIN: &str = "service/ns/web/tcp/";
const EXTERNAL: &str = "external/ns/web/tcp/";
const KEY: &str = "10.96.0.5 . tcp . 80";

fn dnat(rules: &[String]) -> &str {
    rules.last().map_or("", String::as_str)
}

#[test]
fn a_cluster_address_leads_to_all_ready_endpoints() {
    let table = table_of(json!({}), &["10.244.0.2@n1", "10.244.1.2@n2", "!10.244.1.3@n2"]);
    assert_eq!(table.lookup("services", KEY), Some("goto service/ns/web/tcp/"));
    let rules = table.rules(CHAIN);
    assert_eq!(rules[0], "ip saddr != 10.244.0.0/16 jump to-masquerade");
    let spread = "meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.0.2 . 8080, 1 : 10.244.1.2 . 8080 }";
    assert_eq!(dnat(&rules), spread);
    assert!(table.has("hairpin", "10.244.0.2 . 10.244.0.2"));
}

#[test]
fn what_this_node_answers_itself_is_let_through() {
    let place = Place { answered_here: vec!["10.96.0.5".parse().unwrap()], ..place() };
    let (service, nowhere, somewhere) = (service(json!({})), Arc::new(slice(&[])), Arc::new(slice(&["10.244.0.2@n1"])));
    let alone = table([&service], |_, _| vec![nowhere.clone()], &place).table;
    assert!(!alone.has("services_reject", KEY) && !alone.has("cluster_ips", "10.96.0.5"));
    let replaced = table([&service], |_, _| vec![somewhere.clone()], &place).table;
    assert_eq!(replaced.lookup("services", KEY), Some("goto service/ns/web/tcp/"));
}

#[test]
fn without_endpoints_the_caller_is_refused() {
    for endpoints in [&[][..], &["!10.244.0.2@n1"]] {
        let table = table_of(json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 30080 }] }), endpoints);
        assert!(table.has("services_reject", KEY) && table.has("nodeports_reject", "tcp . 30080"));
        assert_eq!(table.lookup("services", KEY), None);
    }
}

#[test]
fn ending_endpoints_serve_when_no_other_does() {
    let both = table_of(json!({}), &["10.244.0.2@n1", "~10.244.1.2@n2"]);
    assert_eq!(dnat(&both.rules(CHAIN)), "meta l4proto tcp dnat ip to 10.244.0.2:8080");
    let ending = table_of(json!({}), &["!10.244.0.2@n1", "~10.244.1.2@n2"]);
    assert_eq!(dnat(&ending.rules(CHAIN)), "meta l4proto tcp dnat ip to 10.244.1.2:8080");
}

#[test]
fn headless_and_named_elsewhere_are_left_out() {
    for spec in [json!({ "clusterIP": "None" }), json!({ "clusterIP": "" }), json!({ "type": "ExternalName" })] {
        assert_eq!(table_of(spec, &["10.244.0.2@n1"]), Table::default());
    }
}

#[test]
fn a_node_port_is_masqueraded() {
    let table =
        table_of(json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 30080 }] }), &["10.244.0.2@n1"]);
    assert_eq!(table.lookup("nodeports", "tcp . 30080"), Some("goto external/ns/web/tcp/"));
    assert_eq!(table.rules(EXTERNAL), ["jump to-masquerade", "meta l4proto tcp dnat ip to 10.244.0.2:8080"]);
}

#[test]
fn external_traffic_may_be_kept_to_this_node() {
    let spec =
        json!({ "type": "NodePort", "externalTrafficPolicy": "Local", "ports": [{ "port": 80, "nodePort": 30080 }] });
    let table = table_of(spec.clone(), &["10.244.0.2@n1", "10.244.1.2@n2"]);
    assert_eq!(dnat(&table.rules(EXTERNAL)), "goto local/ns/web/tcp/");
    assert_eq!(table.rules("local/ns/web/tcp/"), ["meta l4proto tcp dnat ip to 10.244.0.2:8080"]);
    assert!(table.rules(EXTERNAL)[0].starts_with("ip saddr 10.244.0.0/16 goto anywhere/"));
    let elsewhere = table_of(spec, &["10.244.1.2@n2"]);
    assert_eq!(dnat(&elsewhere.rules(EXTERNAL)), "jump to-drop");
}

#[test]
fn internal_traffic_may_be_kept_to_this_node() {
    let spec = json!({ "internalTrafficPolicy": "Local" });
    let table = table_of(spec.clone(), &["10.244.0.2@n1", "10.244.1.2@n2"]);
    assert_eq!(dnat(&table.rules(CHAIN)), "meta l4proto tcp dnat ip to 10.244.0.2:8080");
    assert!(table_of(spec, &["10.244.1.2@n2"]).has("services_drop", KEY));
}

#[test]
fn external_addresses_lead_in_too() {
    let mut service = service(json!({ "type": "LoadBalancer", "externalIPs": ["192.0.2.1"] }));
    let ingress =
        json!({ "loadBalancer": { "ingress": [{ "ip": "192.0.2.2" }, { "ip": "192.0.2.3", "ipMode": "Proxy" }] } });
    service.status = serde_json::from_value(ingress).unwrap();
    let slice = Arc::new(slice(&["10.244.0.2@n1"]));
    let table = table([&service], |_, _| vec![slice.clone()], &place()).table;
    assert!(table.lookup("services", "192.0.2.1 . tcp . 80").is_some());
    assert!(table.lookup("services", "192.0.2.2 . tcp . 80").is_some());
    assert!(table.lookup("services", "192.0.2.3 . tcp . 80").is_none());
}

#[test]
fn clients_may_stay_with_their_endpoint() {
    let spec =
        json!({ "sessionAffinity": "ClientIP", "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": 60 } } });
    let table = table_of(spec, &["10.244.0.2@n1", "10.244.1.2@n2"]);
    let rules = table.rules(CHAIN);
    assert_eq!(rules[1], "ip saddr @affinity-60/ns/web/tcp//10.244.0.2.8080 goto endpoint/ns/web/tcp//10.244.0.2.8080");
    assert!(dnat(&rules).starts_with("numgen random mod 2 vmap { 0 : goto endpoint/"));
    assert_eq!(
        table.rules("endpoint/ns/web/tcp//10.244.0.2.8080")[0],
        "update @affinity-60/ns/web/tcp//10.244.0.2.8080 { ip saddr }"
    );
}

#[test]
fn ports_are_matched_by_name_and_protocol() {
    let spec = json!({ "ports": [{ "name": "dns", "port": 53, "protocol": "UDP" }] });
    let mut slice = slice(&["10.244.0.2@n1"]);
    slice.ports = serde_json::from_value(json!([
        { "name": "dns-tcp", "port": 1, "protocol": "TCP" }, { "name": "dns", "port": 5353, "protocol": "UDP" }
    ]))
    .unwrap();
    let (service, slice) = (service(spec), Arc::new(slice));
    let table = table([&service], |_, _| vec![slice.clone()], &place()).table;
    assert_eq!(dnat(&table.rules("service/ns/web/udp/dns")), "meta l4proto udp dnat ip to 10.244.0.2:5353");
}

/// A service behind a balancer's address, with one endpoint here and one elsewhere.
fn balanced(spec: Value) -> Wanted {
    let mut full = json!({ "type": "LoadBalancer", "externalTrafficPolicy": "Cluster" });
    full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let mut service = service(full);
    service.status = serde_json::from_value(json!({ "loadBalancer": { "ingress": [{ "ip": "192.0.2.2" }] } })).unwrap();
    let slice = Arc::new(slice(&["10.244.0.2@n1", "10.244.1.2@n2"]));
    table([&service], |_, _| vec![slice.clone()], &place())
}

#[test]
fn a_balancers_address_may_be_for_some_clients_only() {
    let key = "192.0.2.2 . tcp . 80";
    let open = balanced(json!({})).table;
    assert!(open.lookup("services", key).is_some() && open.lookup("firewall", key).is_none());
    let ranges = json!({ "loadBalancerSourceRanges": ["10.0.0.0/8", " 10.1.0.0/16", "192.0.2.0/24", "fd00::/8"] });
    let closed = balanced(ranges).table;
    assert_eq!(closed.lookup("firewall", key), Some("goto firewall/ns/web/tcp/"));
    assert_eq!(closed.rules("firewall/ns/web/tcp/"), ["ip saddr != { 10.0.0.0/8, 192.0.2.0/24 } drop"]);
    assert!(closed.lookup("firewall", "10.96.0.5 . tcp . 80").is_none(), "the cluster address stays open");
    let nobody = balanced(json!({ "loadBalancerSourceRanges": ["fd00::/8"] })).table;
    assert_eq!(nobody.rules("firewall/ns/web/tcp/"), ["drop"]);
}

#[test]
fn balancers_may_ask_for_endpoints_on_this_node() {
    assert!(balanced(json!({ "healthCheckNodePort": 31000 })).health.is_empty());
    let local = balanced(json!({ "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000 }));
    assert_eq!(local.health[&31000], Health { service: ObjectKey::new("ns", "web"), local_endpoints: 1 });
}

#[test]
fn hints_keep_connections_near() {
    let hinted = |zones: &[Option<&str>], nodes: &[Option<&str>]| {
        let mut slice = slice(&["10.244.0.2@n1", "10.244.1.2@n2"]);
        for (i, endpoint) in slice.endpoints.iter_mut().flatten().enumerate() {
            let list = |hints: &[Option<&str>]| hints[i].map(|name| json!([{ "name": name }]));
            let hints = json!({ "forZones": list(zones), "forNodes": list(nodes) });
            endpoint.hints = Some(serde_json::from_value(hints).unwrap());
        }
        let (service, slice) = (service(json!({})), Arc::new(slice));
        table([&service], |_, _| vec![slice.clone()], &place()).table.rules(CHAIN).pop().unwrap()
    };
    let to = |last| format!("meta l4proto tcp dnat ip to 10.244.{last}.2:8080");
    let none = [None, None];
    assert_eq!(hinted(&[Some("z1"), Some("z2")], &none), to(0));
    assert_eq!(hinted(&[Some("z2"), Some("z1")], &none), to(1));
    assert_eq!(hinted(&[Some("z2"), Some("z1")], &[Some("n1"), Some("n2")]), to(0), "the node comes first");
    let anywhere = |rule: String| rule.contains("mod 2");
    assert!(anywhere(hinted(&[Some("z1"), None], &none)), "one without a hint: none count");
    assert!(anywhere(hinted(&[Some("z2"), Some("z2")], &none)), "none is for here");
}

#[test]
fn udp_fronts_name_who_may_answer() {
    let spec = json!({ "type": "NodePort", "ports": [{ "port": 53, "protocol": "UDP", "nodePort": 30053 }] });
    let (service, mut slice) = (service(spec), slice(&["10.244.0.2@n1"]));
    slice.ports = serde_json::from_value(json!([{ "port": 5353, "protocol": "UDP" }])).unwrap();
    let slice = Arc::new(slice);
    let fronts = table([&service], |_, _| vec![slice.clone()], &place()).fronts;
    let target = Target { address: "10.244.0.2".parse().unwrap(), port: 5353 };
    let ports: Vec<_> = fronts.keys().map(|front| (front.address.is_some(), front.port)).collect();
    assert_eq!(ports, [(false, 30053), (true, 53)]);
    assert!(fronts.values().all(|targets| targets.contains(&target)));
    assert!(balanced(json!({})).fronts.is_empty(), "only UDP");
}

/// The kernel takes every kind of rule, and a change from each to each.
#[test]
fn the_kernel_takes_it() {
    use nix::sched::{CloneFlags, unshare};
    use sys::nft::{Kernel, Ruleset};
    let variants = [
        table_of(
            json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 30080 }] }),
            &["10.244.0.2@n1", "10.244.1.2@n2"],
        ),
        table_of(
            json!({ "externalIPs": ["192.0.2.1"], "externalTrafficPolicy": "Local", "ports": [{ "port": 80, "nodePort": 30080 }] }),
            &["10.244.1.2@n2"],
        ),
        table_of(
            json!({ "sessionAffinity": "ClientIP", "externalIPs": ["192.0.2.1"] }),
            &["10.244.0.2@n1", "10.244.1.2@n2"],
        ),
        table_of(
            json!({ "sessionAffinity": "ClientIP", "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": 60 } } }),
            &["10.244.0.2@n1"],
        ),
        balanced(json!({ "loadBalancerSourceRanges": ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24"] })).table,
        table_of(json!({ "ports": [{ "port": 80, "protocol": "SCTP" }] }), &["10.244.0.2@n1"]),
        table_of(json!({}), &[]),
        table_of(json!({ "internalTrafficPolicy": "Local" }), &["10.244.1.2@n2"]),
        Table::default(),
    ];
    let done = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            Kernel.apply(Table::default().rebuild(frame, "t")).await.unwrap();
            let mut old = Table::default();
            for _ in 0..2 {
                for new in &variants {
                    let script = new.change_from(&old, "t");
                    Kernel.apply(script.clone()).await.unwrap_or_else(|e| panic!("{e}: {script}"));
                    old = new.clone();
                }
            }
            for table in &variants {
                Kernel.apply(table.rebuild(frame, "t")).await.unwrap();
            }
        });
    });
    done.join().unwrap();
}
