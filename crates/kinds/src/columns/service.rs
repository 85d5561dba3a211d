//! Services, endpoints, ingresses, policies.

use serde_json::Value;

use super::access::{NONE, int, joined, labels, list, or_none, selector};
use super::{AGE, Column, NAME, text, wide};

pub(super) static SERVICE: &[Column] = &[
    NAME,
    text("Type", |o, _| api::meta::at(o, "/spec/type").into()),
    text("Cluster-IP", |o, _| or_none(o, "/spec/clusterIP")),
    text("External-IP", |o, _| external(o)),
    text("Port(s)", |o, _| ports(o)),
    AGE,
    wide("Selector", |o, _| labels(o.pointer("/spec/selector"))),
];

fn external(service: &Value) -> Value {
    let given = || list(service, "/spec/externalIPs").filter_map(Value::as_str);
    match api::meta::at(service, "/spec/type") {
        "ExternalName" => api::meta::at(service, "/spec/externalName").into(),
        "LoadBalancer" => {
            let ingress = list(service, "/status/loadBalancer/ingress").map(|i| {
                let ip = api::meta::at(i, "/ip");
                if ip.is_empty() { api::meta::at(i, "/hostname") } else { ip }
            });
            let all: Vec<&str> = ingress.chain(given()).collect();
            if all.is_empty() { "<pending>".into() } else { all.join(",").into() }
        }
        _ => joined(given()),
    }
}

fn ports(service: &Value) -> Value {
    let texts: Vec<String> = list(service, "/spec/ports")
        .map(|p| {
            let protocol = p.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
            match int(p, "/nodePort") {
                0 => format!("{}/{protocol}", int(p, "/port")),
                node => format!("{}:{node}/{protocol}", int(p, "/port")),
            }
        })
        .collect();
    joined(texts.iter().map(String::as_str))
}

/// The first few, and how many more.
fn some(texts: &[String], shown: usize) -> Value {
    if texts.is_empty() {
        return NONE.into();
    }
    let head: Vec<&str> = texts.iter().take(shown).map(String::as_str).collect();
    let rest = texts.len().saturating_sub(shown);
    if rest == 0 { head.join(",").into() } else { format!("{} + {rest} more...", head.join(",")).into() }
}

pub(super) static ENDPOINTS: &[Column] = &[
    NAME,
    text("Endpoints", |o, _| {
        let mut all = Vec::new();
        for subset in list(o, "/subsets") {
            for address in list(subset, "/addresses") {
                let ip = api::meta::at(address, "/ip");
                let before = all.len();
                all.extend(list(subset, "/ports").map(|p| format!("{ip}:{}", int(p, "/port"))));
                if all.len() == before {
                    all.push(ip.to_owned());
                }
            }
        }
        some(&all, 3)
    }),
    AGE,
];

pub(super) static ENDPOINT_SLICE: &[Column] = &[
    NAME,
    text("AddressType", |o, _| api::meta::at(o, "/addressType").into()),
    text("Ports", |o, _| {
        let ports: Vec<String> =
            list(o, "/ports").map(|p| p.get("port").map_or_else(|| "*".to_owned(), ToString::to_string)).collect();
        if ports.is_empty() { "<unset>".into() } else { some(&ports, 3) }
    }),
    text("Endpoints", |o, _| {
        let all: Vec<String> = list(o, "/endpoints")
            .flat_map(|e| list(e, "/addresses"))
            .filter_map(|a| a.as_str().map(str::to_owned))
            .collect();
        if all.is_empty() { "<unset>".into() } else { some(&all, 3) }
    }),
    AGE,
];

pub(super) static INGRESS: &[Column] = &[
    NAME,
    text("Class", |o, _| or_none(o, "/spec/ingressClassName")),
    text("Hosts", |o, _| {
        let hosts: Vec<String> = list(o, "/spec/rules")
            .map(|r| api::meta::at(r, "/host"))
            .map(|h| if h.is_empty() { "*".to_owned() } else { h.to_owned() })
            .collect();
        if hosts.is_empty() { "*".into() } else { some(&hosts, 3) }
    }),
    text("Address", |o, _| {
        let all: Vec<&str> = list(o, "/status/loadBalancer/ingress")
            .map(|i| {
                if api::meta::at(i, "/ip").is_empty() { api::meta::at(i, "/hostname") } else { api::meta::at(i, "/ip") }
            })
            .collect();
        all.join(",").into()
    }),
    text("Ports", |o, _| if list(o, "/spec/tls").next().is_some() { "80, 443" } else { "80" }.into()),
    AGE,
];

pub(super) static INGRESS_CLASS: &[Column] = &[
    NAME,
    text("Controller", |o, _| api::meta::at(o, "/spec/controller").into()),
    text("Parameters", |o, _| match api::meta::at(o, "/spec/parameters/kind") {
        "" => NONE.into(),
        kind => format!("{kind}/{}", api::meta::at(o, "/spec/parameters/name")).into(),
    }),
    AGE,
];

pub(super) static NETWORK_POLICY: &[Column] =
    &[NAME, text("Pod-Selector", |o, _| selector(o.pointer("/spec/podSelector"))), AGE];

pub(super) static SERVICE_CIDR: &[Column] =
    &[NAME, text("CIDRs", |o, _| joined(list(o, "/spec/cidrs").filter_map(Value::as_str))), AGE];

pub(super) static IP_ADDRESS: &[Column] = &[
    NAME,
    text("ParentRef", |o, _| {
        let parts = ["/spec/parentRef/resource", "/spec/parentRef/namespace", "/spec/parentRef/name"];
        parts.map(|p| api::meta::at(o, p)).into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join("/").into()
    }),
    AGE,
];
