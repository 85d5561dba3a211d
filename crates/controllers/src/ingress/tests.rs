use k8s_openapi::api::core::v1::{Node, Service};
use serde_json::json;

use super::plan::{class, points};

fn node(name: &str, address: &str, ports: Option<&str>, ready: &str) -> Node {
    let annotations = ports.map(|ports| json!({"gateway.oxikube.io/ports": ports}));
    let object = json!({
        "metadata": {"name": name, "annotations": annotations},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}],
            "conditions": [{"type": "Ready", "status": ready}],
        },
    });
    serde_json::from_value(object).unwrap()
}

fn balanced(address: &str, port: i32) -> Service {
    let object = json!({
        "metadata": {"name": "s", "namespace": "a"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": port, "protocol": "TCP"}]},
        "status": {"loadBalancer": {"ingress": [{"ip": address}]}},
    });
    serde_json::from_value(object).unwrap()
}

fn said(nodes: &[Node], services: &[Service]) -> Vec<String> {
    let points = points(nodes, services);
    let ports = |point: &k8s_openapi::api::networking::v1::IngressLoadBalancerIngress| {
        point.ports.iter().flatten().map(|port| port.port.to_string()).collect::<Vec<_>>().join("+")
    };
    points.iter().map(|point| format!("{}:{}", point.ip.clone().unwrap_or_default(), ports(point))).collect()
}

#[test]
fn ready_nodes_whose_gateway_answers_are_named() {
    let nodes = [
        node("b", "192.0.2.2", Some("80,443"), "True"),
        node("a", "192.0.2.1", Some("80"), "True"),
        node("silent", "192.0.2.3", Some("80,443"), "Unknown"),
        node("without", "192.0.2.4", None, "True"),
    ];
    assert_eq!(said(&nodes, &[]), ["192.0.2.1:80", "192.0.2.2:80+443"]);
}

#[test]
fn a_port_that_a_service_has_at_a_node_is_not_the_gateways() {
    let nodes = [node("a", "192.0.2.1", Some("80,443"), "True"), node("b", "192.0.2.2", Some("80"), "True")];
    assert_eq!(said(&nodes, &[balanced("192.0.2.1", 80)]), ["192.0.2.1:443", "192.0.2.2:80"]);
    assert_eq!(said(&nodes, &[balanced("192.0.2.2", 80)]), ["192.0.2.1:80+443"]);
    assert_eq!(said(&nodes, &[balanced("192.0.2.2", 8080)]), ["192.0.2.1:80+443", "192.0.2.2:80"]);
}

#[test]
fn the_class_is_the_default_one() {
    let class = class();
    assert!(client::ingress::Classes::of([&class]).serve(&serde_json::from_value(json!({"metadata": {}})).unwrap()));
}
