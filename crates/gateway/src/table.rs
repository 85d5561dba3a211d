//! Which request goes where: objects in, a table out. Pure.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/ingress/>: a named host before a wildcard before any host,
//! in each the longest path, `Exact` before `Prefix`; what no rule takes goes to a default backend. Of two Ingresses
//! that claim the same the older one has it.

mod backend;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use client::ObjectKey;
use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressBackend, IngressSpec};

use crate::certificates::{Certificates, TlsEntry};
use crate::entries::{ServiceEntry, SliceEntry};
pub(crate) use backend::Backend;

/// Where the objects are.
pub(crate) trait View {
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<ServiceEntry>>;
    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<SliceEntry>>;
    fn secret(&self, key: &ObjectKey) -> Option<Arc<TlsEntry>>;
}

/// The routes of all Ingresses.
#[derive(Debug, Default)]
pub(crate) struct Table {
    hosts: HashMap<String, Host>,
    /// By what follows the star and its dot.
    wildcards: HashMap<String, Host>,
    anywhere: Host,
    /// For what no rule takes.
    fallback: Option<Arc<Backend>>,
    pub certificates: Certificates,
    /// What of the Ingresses cannot be served.
    pub problems: BTreeSet<Problem>,
}

/// Why a part of an Ingress is not served.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Problem {
    pub ingress: ObjectKey,
    /// The reason of the event that tells it.
    pub reason: &'static str,
    pub message: String,
}

/// The paths of one host.
#[derive(Debug, Default)]
struct Host {
    exact: HashMap<String, Route>,
    /// Without the slash at the end.
    prefixes: HashMap<String, Route>,
    fallback: Option<Arc<Backend>>,
}

#[derive(Debug)]
struct Route {
    backend: Arc<Backend>,
    /// The path as it was written.
    path: String,
    owner: ObjectKey,
}

impl Table {
    /// The backend for a request; `host` is in lower case and without a port.
    pub(crate) fn route(&self, host: &str, path: &str) -> Option<&Arc<Backend>> {
        let named = self.hosts.get(host);
        let wildcard = parent(host).and_then(|domain| self.wildcards.get(domain));
        let tried = [named, wildcard, Some(&self.anywhere)];
        let mut fitting = tried.into_iter().flatten();
        let rule = fitting.clone().find_map(|host| host.route(path)).map(|route| &route.backend);
        rule.or_else(|| fitting.find_map(|host| host.fallback.as_ref())).or(self.fallback.as_ref())
    }

    fn host(&mut self, name: &str) -> &mut Host {
        let name = name.to_ascii_lowercase();
        match name.strip_prefix("*.") {
            _ if name.is_empty() => &mut self.anywhere,
            Some(domain) => self.wildcards.entry(domain.to_owned()).or_default(),
            None => self.hosts.entry(name).or_default(),
        }
    }
}

impl Host {
    fn route(&self, path: &str) -> Option<&Route> {
        if let Some(route) = self.exact.get(path) {
            return Some(route);
        }
        let mut rest = path;
        loop {
            let element = rest.trim_end_matches('/');
            if let Some(route) = self.prefixes.get(element) {
                return Some(route);
            }
            rest = element.rsplit_once('/')?.0;
        }
    }

    /// Takes the path unless an older Ingress has it, whose name comes back then.
    fn claim(&mut self, path: &HTTPIngressPath, route: Route) -> Option<ObjectKey> {
        let is_exact = path.path_type == "Exact";
        let (routes, key) = if is_exact {
            (&mut self.exact, route.path.clone())
        } else {
            (&mut self.prefixes, route.path.trim_end_matches('/').to_owned())
        };
        match routes.get(&key) {
            // `/a/` is longer than `/a`, which means the same.
            Some(known) if known.path.len() >= route.path.len() => {
                (known.path == route.path).then(|| known.owner.clone())
            }
            _ => {
                routes.insert(key, route);
                None
            }
        }
    }
}

/// What follows the first label of a host.
pub(crate) fn parent(host: &str) -> Option<&str> {
    host.split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, domain)| domain)
}

/// The Secrets with certificates that Ingresses name.
pub(crate) fn secrets(ingresses: &[Arc<Ingress>]) -> BTreeSet<ObjectKey> {
    let mut keys = BTreeSet::new();
    for ingress in ingresses {
        let namespace = ingress.metadata.namespace.as_deref().unwrap_or_default();
        let tls = ingress.spec.iter().flat_map(|spec| spec.tls.iter().flatten());
        let names = tls.filter_map(|tls| tls.secret_name.as_deref()).filter(|name| !name.is_empty());
        keys.extend(names.map(|name| ObjectKey::new(namespace, name)));
    }
    keys
}

/// The table for these Ingresses, all of them ours.
pub(crate) fn table(ingresses: &[Arc<Ingress>], view: &impl View) -> Table {
    let mut oldest: Vec<&Ingress> = ingresses.iter().map(AsRef::as_ref).collect();
    oldest.sort_by_key(|ingress| {
        (ingress.metadata.creation_timestamp.as_ref().map(|time| time.0), ObjectKey::of(&ingress.metadata))
    });
    let mut builder = Builder { view, table: Table::default(), backends: BTreeMap::new() };
    // One that is all default comes before one that has rules as well.
    for ingress in oldest.iter().filter(|ingress| !has_rules(ingress)).chain(oldest.iter().filter(|i| has_rules(i))) {
        let Some(spec) = &ingress.spec else { continue };
        if let Some(backend) = &spec.default_backend {
            let backend = builder.backend(ObjectKey::of(&ingress.metadata), backend);
            builder.table.fallback.get_or_insert(backend);
        }
    }
    for ingress in oldest {
        let Some(spec) = &ingress.spec else { continue };
        let key = ObjectKey::of(&ingress.metadata);
        builder.rules(&key, spec);
        builder.tls(&key, spec);
    }
    builder.table
}

fn has_rules(ingress: &Ingress) -> bool {
    ingress.spec.as_ref().and_then(|spec| spec.rules.as_ref()).is_some_and(|rules| !rules.is_empty())
}

struct Builder<'a, V> {
    view: &'a V,
    table: Table,
    /// One for all who name it, so that they take turns together.
    backends: BTreeMap<(ObjectKey, backend::PortName), Arc<Backend>>,
}

impl<V: View> Builder<'_, V> {
    fn rules(&mut self, ingress: &ObjectKey, spec: &IngressSpec) {
        for rule in spec.rules.iter().flatten() {
            let host = rule.host.as_deref().unwrap_or_default();
            if let Some(backend) = &spec.default_backend {
                let backend = self.backend(ingress.clone(), backend);
                self.table.host(host).fallback.get_or_insert(backend);
            }
            for path in rule.http.iter().flat_map(|http| &http.paths) {
                let backend = self.backend(ingress.clone(), &path.backend);
                let written = path.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/").to_owned();
                let route = Route { backend, path: written.clone(), owner: ingress.clone() };
                let older = self.table.host(host).claim(path, route).filter(|older| older != ingress);
                if let Some(older) = older {
                    let host = if host.is_empty() { "any host" } else { host };
                    let message = format!("{written} of {host} belongs to the older ingress {older}");
                    self.problem(ingress, "PathTaken", message);
                }
            }
        }
    }

    fn backend(&mut self, ingress: ObjectKey, named: &IngressBackend) -> Arc<Backend> {
        let backend = match &named.service {
            Some(service) => {
                let (key, port) = (ObjectKey::new(&ingress.namespace, &service.name), backend::PortName::of(service));
                let view = self.view;
                let known = self.backends.entry((key.clone(), port.clone()));
                known.or_insert_with(|| Arc::new(Backend::of_service(&key, &port, view))).clone()
            }
            None => Arc::new(Backend::of_resource(named.resource.as_ref())),
        };
        if let Some(why) = backend.fault() {
            self.problem(&ingress, "BackendNotServed", why.to_owned());
        }
        backend
    }

    fn tls(&mut self, ingress: &ObjectKey, spec: &IngressSpec) {
        for tls in spec.tls.iter().flatten() {
            let Some(name) = tls.secret_name.as_deref().filter(|name| !name.is_empty()) else { continue };
            let found = self.view.secret(&ObjectKey::new(&ingress.namespace, name));
            let certificate = match found.as_deref() {
                Some(TlsEntry(Ok(certificate))) => certificate,
                Some(TlsEntry(Err(why))) => {
                    let message = format!("secret {name} is no certificate with its key: {why}");
                    self.problem(ingress, "CertificateNotServed", message);
                    continue;
                }
                None => {
                    self.problem(ingress, "CertificateNotServed", format!("secret {name} is not there"));
                    continue;
                }
            };
            let given = tls.hosts.iter().flatten().map(String::as_str);
            let mut hosts: Vec<&str> = given.collect();
            if hosts.is_empty() {
                hosts = spec.rules.iter().flatten().map(|rule| rule.host.as_deref().unwrap_or_default()).collect();
            }
            if hosts.is_empty() {
                hosts.push("");
            }
            hosts.into_iter().for_each(|host| self.table.certificates.add(host, certificate));
        }
    }

    fn problem(&mut self, ingress: &ObjectKey, reason: &'static str, message: String) {
        self.table.problems.insert(Problem { ingress: ingress.clone(), reason, message });
    }
}
