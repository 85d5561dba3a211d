//! A cluster in memory.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::entries::{Endpoint, Port, ServiceEntry, SliceEntry};
use crate::index::Index;
use crate::zone::Zone;

#[derive(Default)]
pub(crate) struct Memory {
    pub namespaces: BTreeSet<String>,
    pub services: Vec<Arc<ServiceEntry>>,
    pub slices: Vec<Arc<SliceEntry>>,
    /// The namespace of whoever asks.
    pub client: Option<String>,
}

impl Index for Memory {
    fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.contains(name)
    }

    fn service(&self, namespace: &str, name: &str) -> Option<Arc<ServiceEntry>> {
        self.services.iter().find(|s| s.namespace == namespace && s.name == name).cloned()
    }

    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<SliceEntry>> {
        self.slices.iter().filter(|s| s.namespace == namespace && s.service == service).cloned().collect()
    }

    fn services_at(&self, address: IpAddr) -> Vec<Arc<ServiceEntry>> {
        self.services.iter().filter(|s| s.addresses.contains(&address)).cloned().collect()
    }

    fn slices_at(&self, address: IpAddr) -> Vec<Arc<SliceEntry>> {
        let has = |s: &&Arc<SliceEntry>| s.endpoints.iter().any(|e| e.addresses.contains(&address));
        self.slices.iter().filter(has).cloned().collect()
    }

    fn namespace_at(&self, _: IpAddr) -> Option<String> {
        self.client.clone()
    }

    async fn complete(&self) {}
}

pub(crate) fn zone() -> Zone {
    let origin = "cluster.local.".parse().unwrap();
    Zone { origin, addresses: vec!["10.96.0.10".parse().unwrap()], serial: 1 }
}

fn ports(ports: &[(&str, &str, u16)]) -> Vec<Port> {
    ports.iter().map(|(n, p, number)| Port { name: (*n).into(), protocol: (*p).into(), number: *number }).collect()
}

pub(crate) fn cluster() -> Memory {
    let service = |name: &str| ServiceEntry { namespace: "default".into(), name: name.into(), ..Default::default() };
    let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
    let endpoint = |address: &str, hostname: Option<&str>, ready| Endpoint {
        addresses: vec![ip(address)],
        hostname: hostname.map(str::to_owned),
        ready,
    };
    let web = ServiceEntry {
        addresses: vec![ip("10.96.0.5"), ip("fd00::5")],
        ports: ports(&[("http", "tcp", 80), ("", "udp", 53)]),
        ..service("web")
    };
    let db = ServiceEntry { is_headless: true, ports: ports(&[("sql", "tcp", 5432)]), ..service("db") };
    let eager = ServiceEntry { is_headless: true, publishes_not_ready: true, ..service("eager") };
    let empty = ServiceEntry { is_headless: true, ..service("empty") };
    let outside = ServiceEntry { external_name: Some("www.example.com".into()), ..service("outside") };
    let inside = ServiceEntry { external_name: Some("web.default.svc.cluster.local".into()), ..service("inside") };
    let endpoints = vec![
        endpoint("10.244.0.2", Some("db-0"), true),
        endpoint("10.244.0.3", None, true),
        endpoint("10.244.0.4", Some("db-2"), false),
    ];
    let slice = |service: &str, endpoints, port: &[(&str, &str, u16)]| {
        let (namespace, service) = ("default".into(), service.into());
        Arc::new(SliceEntry { namespace, service, endpoints, ports: ports(port) })
    };
    Memory {
        namespaces: BTreeSet::from(["default".to_owned()]),
        services: [web, db, eager, empty, outside, inside].into_iter().map(Arc::new).collect(),
        slices: vec![
            slice("db", endpoints.clone(), &[("sql", "tcp", 15432)]),
            // The same endpoint may stand in two slices for a moment.
            slice("db", endpoints.iter().take(1).cloned().collect(), &[("sql", "tcp", 15432)]),
            slice("eager", vec![endpoint("10.244.0.4", None, false)], &[]),
            slice("web", vec![endpoint("10.244.0.9", None, true)], &[]),
        ],
        client: None,
    }
}
