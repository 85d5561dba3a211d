//! What is refused, and with what words.

use serde_json::{Value, json};

use super::rules;
use crate::tests::{merge, text};

fn said(kind: &str, spec: Value) -> String {
    let object = json!({"metadata": {"name": "x"}, "spec": spec});
    let mut errors = (rules(kind).validate)(&object);
    errors.extend((rules(kind).validate_new)(&object));
    text(&errors)
}

#[test]
fn network_policies() {
    let peer = |peer: Value| json!({"podSelector": {}, "ingress": [{"from": [peer]}]});
    let port = |port: Value| json!({"podSelector": {}, "egress": [{"ports": [port]}]});
    let at = "spec.egress[0].ports[0]";
    for (spec, expected) in [
        (peer(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}})), String::new()),
        (
            peer(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8", "x"]}})),
            "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"10.0.0.0/8\": must be a strict subset of `cidr` | spec.ingress[0].from[0].ipBlock.except[1]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".into(),
        ),
        (
            peer(json!({"ipBlock": {}, "podSelector": {}})),
            "spec.ingress[0].from[0].ipBlock.cidr: Required value | spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer".into(),
        ),
        (peer(json!({})), "spec.ingress[0].from[0]: Required value: must specify a peer".into()),
        (port(json!({"port": 80, "endPort": 90})), String::new()),
        (
            port(json!({"port": 80, "endPort": 70, "protocol": "ICMP"})),
            format!("{at}.protocol: Unsupported value: \"ICMP\": supported values: \"TCP\", \"UDP\", \"SCTP\" | {at}.endPort: Invalid value: 70: must be greater than or equal to `port`"),
        ),
        (
            port(json!({"port": "web", "endPort": 70})),
            format!("{at}.endPort: Invalid value: 70: may not be specified when `port` is non-numeric"),
        ),
        (
            port(json!({"endPort": 70})),
            format!("{at}.endPort: Invalid value: 70: may not be specified when `port` is not specified"),
        ),
        (
            json!({"policyTypes": ["x"]}),
            "spec.policyTypes[0]: Unsupported value: \"x\": supported values: \"Ingress\", \"Egress\"".into(),
        ),
        (
            json!({"policyTypes": ["Ingress", "Egress", "Ingress"]}),
            "spec.policyTypes: Invalid value: [\"Ingress\",\"Egress\",\"Ingress\"]: may not specify more than two policyTypes".into(),
        ),
    ] {
        assert_eq!(said("NetworkPolicy", spec.clone()), expected, "{spec}");
    }
}

#[test]
fn ingresses() {
    let with = |fragment: Value| {
        let mut path =
            json!({"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}});
        merge(&mut path, &fragment);
        json!({"rules": [{"http": {"paths": [path]}}]})
    };
    let at = "spec.rules[0].http.paths[0]";
    for (spec, expected) in [
        (with(json!({})), String::new()),
        (json!({}), "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified".into()),
        (with(json!({"pathType": null})), format!("{at}.pathType: Required value: pathType must be specified")),
        (
            with(json!({"pathType": "x"})),
            format!("{at}.pathType: Unsupported value: \"x\": supported values: \"Exact\", \"ImplementationSpecific\", \"Prefix\""),
        ),
        (with(json!({"path": null})), format!("{at}.path: Invalid value: \"\": must be an absolute path")),
        (
            with(json!({"path": "/a//b/.."})),
            format!("{at}.path: Invalid value: \"/a//b/..\": must not contain '//' | {at}.path: Invalid value: \"/a//b/..\": cannot end with '/..'"),
        ),
        (with(json!({"path": null, "pathType": "ImplementationSpecific"})), String::new()),
        (
            with(json!({"backend": {"service": {"port": {"name": "web"}}}})),
            format!("{at}.backend: Invalid value: \"\": cannot set both port name & port number"),
        ),
        (
            with(json!({"backend": {"service": {"name": "1", "port": {"number": null}}}})),
            format!("{at}.backend.service.name: Invalid value: \"1\": {} | {at}.backend: Required value: port name or number is required", api::names::LABEL_1035_MESSAGE),
        ),
        (
            with(json!({"backend": {"resource": {"kind": "K", "name": "n"}}})),
            format!("{at}.backend: Invalid value: \"\": cannot set both resource and service backends"),
        ),
        (json!({"defaultBackend": {}}), "spec.defaultBackend: Invalid value: \"\": resource or service backend is required".into()),
        (
            json!({"rules": [{"host": "10.0.0.1", "http": {}}]}),
            "spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address | spec.rules[0].http.paths: Required value".into(),
        ),
        (json!({"rules": [{"host": "*.example.com"}], "tls": [{"hosts": ["*.example.com", "a.b"], "secretName": "s"}]}), String::new()),
    ] {
        assert_eq!(said("Ingress", spec.clone()), expected, "{spec}");
    }
    let found = said("Ingress", json!({"rules": [{"host": "a.*.com"}]}));
    assert!(
        found.starts_with("spec.rules[0].host: Invalid value: \"a.*.com\": a wildcard DNS-1123 subdomain must start"),
        "{found}"
    );
    let two =
        json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "a"}}, "spec": {"ingressClassName": "b"}});
    assert_eq!(
        text(&(rules("Ingress").validate_new)(&two)),
        "annotations.kubernetes.io/ingress.class: Invalid value: \"a\": must match `ingressClassName` when both are specified"
    );
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "x"}, {"hostname": "10.0.0.1"}]}}});
    let found = text(&(rules("Ingress").validate_status)(&status, &status));
    assert!(
        found.contains("ingress[0].ip: Invalid value: \"x\"")
            && found.ends_with("must be a DNS name, not an IP address"),
        "{found}"
    );
}

#[test]
fn ingress_classes() {
    let parameters = |parameters: Value| json!({"controller": "a.b/c", "parameters": parameters});
    for (spec, expected) in [
        (json!({}), "spec.controller: Required value: at least one controller is required"),
        (
            json!({"controller": "c"}),
            "spec.controller: Invalid value: \"c\": must be a domain-prefixed path (such as \"acme.io/foo\")",
        ),
        (parameters(json!({"kind": "K", "name": "n", "scope": "Cluster"})), ""),
        (
            parameters(json!({"name": "n", "scope": "Namespace"})),
            "spec.parameters.kind: Required value | spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
        ),
        (
            parameters(json!({"kind": "K", "name": "n", "scope": "Cluster", "namespace": "x"})),
            "spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'",
        ),
        (
            parameters(json!({"kind": "K", "name": "n", "scope": "x"})),
            "spec.parameters.scope: Unsupported value: \"x\": supported values: \"Cluster\", \"Namespace\"",
        ),
    ] {
        assert_eq!(said("IngressClass", spec.clone()), expected, "{spec}");
    }
}
