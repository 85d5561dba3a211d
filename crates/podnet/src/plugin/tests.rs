use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use serde_json::{Value, json};

use super::answer;
use super::config::{self, Command, Request};
use crate::Config;

fn conflist() -> Value {
    let network = Config {
        instance: "t".into(),
        dir: "/data/podnet".into(),
        cluster_cidr: "10.1.0.0/16".parse().unwrap(),
        mtu: None,
    };
    serde_json::from_str(&config::conflist(&network, "10.1.2.0/24".parse().unwrap())).unwrap()
}

/// What an engine makes of a list for one of its plugins.
fn input(version: &str, more: Value) -> Vec<u8> {
    let mut plugin = conflist()["plugins"][0].clone();
    plugin["cniVersion"] = version.into();
    plugin["name"] = "t".into();
    for (key, value) in more.as_object().unwrap() {
        plugin[key] = value.clone();
    }
    plugin.to_string().into_bytes()
}

fn read(command: &str, input: &[u8], left_out: &str) -> Result<Request, answer::Failure> {
    let variables = BTreeMap::from([
        ("CNI_COMMAND", command),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/run/netns/c1"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web"),
    ]);
    let variable = |name: &str| variables.get(name).filter(|_| name != left_out).map(|v| (*v).to_owned());
    Request::read(&variable, input)
}

#[test]
fn a_call_is_read() {
    let mappings = json!([
        {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": ""},
        {"hostPort": 0, "containerPort": 81, "protocol": "TCP"},
        {"hostPort": 53, "containerPort": 53, "protocol": "UDP", "hostIP": "192.0.2.1"},
    ]);
    let bytes = input("0.4.0", json!({"runtimeConfig": {"portMappings": mappings}}));
    let request = read("ADD", &bytes, "").unwrap();
    assert_eq!((request.command, request.container.as_str()), (Command::Add, "c1"));
    assert_eq!((request.argument("K8S_POD_NAME"), request.argument("other")), ("web".into(), String::new()));
    let network = request.configuration.network.as_ref().unwrap();
    assert_eq!((network.instance.as_str(), network.pod_cidr.to_string()), ("t", "10.1.2.0/24".into()));
    let ports = request.configuration.port_mappings().unwrap();
    assert_eq!(ports.iter().map(|p| (p.host_port, p.container_port)).collect::<Vec<_>>(), [(8080, 80), (53, 53)]);
    assert_eq!((ports[0].host_ip, ports[1].host_ip), (None, Some("192.0.2.1".parse().unwrap())));
}

#[test]
fn a_call_that_makes_no_sense_is_refused_with_the_contracts_number() {
    let good = input("1.0.0", json!({}));
    let code = |refused: Result<Request, answer::Failure>| {
        answer::failure(&refused.unwrap_err(), "1.0.0".into())["code"].as_u64().unwrap()
    };
    assert_eq!(code(read("ADD", &input("2.0.0", json!({})), "")), 1);
    assert_eq!(code(read("ADD", &good, "CNI_NETNS")), 4);
    assert_eq!(code(read("GC", &good, "")), 4);
    assert_eq!(code(read("ADD", b"{", "")), 6);
    let bad = input("1.0.0", json!({"runtimeConfig": {"portMappings": [{"hostPort": 70000, "containerPort": 1}]}}));
    assert!(read("ADD", &bad, "").unwrap().configuration.port_mappings().is_err());
    assert!(read("DEL", &good, "CNI_NETNS").is_ok(), "what is gone can be given back");
}

#[test]
fn answers_fit_the_version() {
    let (own, gateway) = (Ipv4Addr::new(10, 1, 2, 3), Ipv4Addr::new(10, 1, 2, 1));
    let answer = |version: &str| {
        let request = read("ADD", &input(version, json!({})), "").unwrap();
        answer::added(&request.configuration, "veth1", Path::new("/n"), own, gateway)
    };
    let (old, new) = (answer("0.4.0"), answer("1.0.0"));
    assert_eq!((&old["ips"][0]["version"], &new["ips"][0]["version"]), (&json!("4"), &Value::Null));
    assert_eq!(new["ips"][0]["address"], "10.1.2.3/32");
    assert_eq!(new["interfaces"][1], json!({"name": "eth0", "sandbox": "/n"}));
    assert_eq!(conflist()["plugins"][0]["capabilities"]["portMappings"], true);
}
