//! Where the requests of a route end.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use client::ObjectKey;
use k8s_openapi::api::core::v1::TypedLocalObjectReference;
use k8s_openapi::api::networking::v1::IngressServiceBackend;

use super::View;
use crate::entries::{ServiceEntry, Use};

/// A port of a service, as an Ingress names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PortName {
    Number(i32),
    Name(String),
    Missing,
}

impl PortName {
    pub(super) fn of(service: &IngressServiceBackend) -> Self {
        let port = service.port.clone().unwrap_or_default();
        match (port.name.filter(|name| !name.is_empty()), port.number) {
            (Some(name), _) => Self::Name(name),
            (None, Some(number)) => Self::Number(number),
            (None, None) => Self::Missing,
        }
    }
}

/// The endpoints of one port of a service, or why there are none.
#[derive(Debug)]
pub(crate) struct Backend {
    /// For people.
    pub name: String,
    endpoints: Vec<SocketAddr>,
    /// What is wrong, other than that there is no endpoint just now.
    fault: Option<String>,
    /// They speak HTTP/2 without TLS.
    pub h2c: bool,
    is_sticky: bool,
    turn: AtomicUsize,
}

impl Backend {
    pub(super) fn of_service(key: &ObjectKey, port: &PortName, view: &impl View) -> Self {
        let mut backend = Self::empty(format!("service {key}"));
        let Some(service) = view.service(&key.namespace, &key.name) else {
            return backend.because("is not there");
        };
        if service.is_external_name {
            return backend.because("is but a name elsewhere (type ExternalName), where the gateway does not go");
        }
        let Some(port) = find(&service, port) else {
            let what = match port {
                PortName::Number(number) => format!("has no TCP port {number}"),
                PortName::Name(name) => format!("has no TCP port named {name}"),
                PortName::Missing => "is named without a port".to_owned(),
            };
            return backend.because(&what);
        };
        let slices = view.slices(&key.namespace, &key.name);
        let of = |wanted: Use| {
            let mut found: Vec<SocketAddr> = Vec::new();
            for slice in &slices {
                let Some((_, number)) = slice.ports.iter().find(|(name, _)| *name == port.name) else { continue };
                let usable = slice.endpoints.iter().filter(|(_, is)| *is == wanted);
                found.extend(usable.map(|(address, _)| SocketAddr::new(*address, *number)));
            }
            found.sort_unstable();
            found.dedup();
            found
        };
        backend.endpoints = of(Use::Ready);
        if backend.endpoints.is_empty() {
            backend.endpoints = of(Use::Ending);
        }
        (backend.h2c, backend.is_sticky) = (port.h2c, service.is_sticky);
        backend
    }

    pub(super) fn of_resource(resource: Option<&TypedLocalObjectReference>) -> Self {
        let name = resource.map_or_else(|| "the backend".to_owned(), |r| format!("{} {}", r.kind, r.name));
        Self::empty(name).because("is no service, and the gateway serves only those")
    }

    fn empty(name: String) -> Self {
        Self { name, endpoints: Vec::new(), fault: None, h2c: false, is_sticky: false, turn: AtomicUsize::new(0) }
    }

    fn because(mut self, why: &str) -> Self {
        self.fault = Some(format!("{} {why}", self.name));
        self
    }

    /// What is to be corrected in the Ingress or its service.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Why nobody can answer just now.
    pub(crate) fn why_empty(&self) -> String {
        self.fault.clone().unwrap_or_else(|| format!("{} has no ready endpoint", self.name))
    }

    /// The endpoints to try, in this order: they take turns, or a client stays with its own.
    pub(crate) fn endpoints(&self, client: IpAddr) -> impl Iterator<Item = SocketAddr> + '_ {
        let first = if self.is_sticky {
            let mut hasher = DefaultHasher::new();
            client.hash(&mut hasher);
            usize::try_from(hasher.finish() >> 32).unwrap_or_default()
        } else {
            self.turn.fetch_add(1, Ordering::Relaxed)
        };
        let count = self.endpoints.len();
        let start = first.checked_rem(count).unwrap_or_default();
        self.endpoints.iter().cycle().skip(start).take(count).copied()
    }
}

fn find<'a>(service: &'a ServiceEntry, port: &PortName) -> Option<&'a crate::entries::Port> {
    service.ports.iter().find(|known| match port {
        PortName::Number(number) => i32::from(known.number) == *number,
        PortName::Name(name) => known.name == *name,
        PortName::Missing => false,
    })
}
