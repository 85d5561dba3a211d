use std::collections::HashMap;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::*;
use crate::certificates;
use crate::entries::{Port, Use};

/// Objects by hand.
#[derive(Default)]
struct Objects {
    services: HashMap<String, Arc<ServiceEntry>>,
    slices: Vec<Arc<SliceEntry>>,
    secrets: HashMap<String, Arc<TlsEntry>>,
}

impl View for Objects {
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<ServiceEntry>> {
        self.services.get(&format!("{namespace}/{name}")).cloned()
    }

    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<SliceEntry>> {
        self.slices.iter().filter(|s| s.namespace == namespace && s.service == service).cloned().collect()
    }

    fn secret(&self, key: &ObjectKey) -> Option<Arc<TlsEntry>> {
        self.secrets.get(&key.to_string()).cloned()
    }
}

impl Objects {
    /// Services, each with a port 80 named http and one endpoint.
    fn with(names: &[&str]) -> Self {
        let mut objects = Self::default();
        for (number, name) in names.iter().enumerate() {
            let ports = vec![Port { name: "http".into(), number: 80, h2c: false }];
            objects.put(name, ServiceEntry { ports, ..ServiceEntry::default() });
            objects.slice(name, &[(&format!("10.0.0.{}", number + 1), Use::Ready)]);
        }
        objects
    }

    fn put(&mut self, name: &str, service: ServiceEntry) {
        self.services.insert(format!("shop/{name}"), Arc::new(service));
    }

    fn slice(&mut self, service: &str, endpoints: &[(&str, Use)]) {
        let endpoints = endpoints.iter().map(|(address, is)| (address.parse().unwrap(), *is)).collect();
        let ports = vec![("http".into(), 8080)];
        let slice = SliceEntry { namespace: "shop".into(), service: service.into(), ports, endpoints };
        self.slices.push(Arc::new(slice));
    }
}

/// An Ingress made in a given second of the day.
fn ingress(name: &str, second: u8, spec: Value) -> Arc<Ingress> {
    let created = format!("2026-01-01T00:00:{second:02}Z");
    let metadata = json!({"name": name, "namespace": "shop", "creationTimestamp": created});
    Arc::new(serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap())
}

fn to(service: &str) -> Value {
    json!({"service": {"name": service, "port": {"number": 80}}})
}

/// A rule of `TYPE PATH SERVICE` lines.
fn rule(host: &str, paths: &[(&str, &str, &str)]) -> Value {
    let paths =
        paths.iter().map(|(kind, path, service)| json!({"pathType": kind, "path": path, "backend": to(service)}));
    let host = if host.is_empty() { Value::Null } else { host.into() };
    json!({"host": host, "http": {"paths": paths.collect::<Vec<_>>()}})
}

fn one(rules: Value) -> Vec<Arc<Ingress>> {
    vec![ingress("web", 0, json!({"rules": rules}))]
}

fn goes(table: &Table, host: &str, path: &str) -> String {
    let name = table.route(host, path).map_or("nobody", |backend| &backend.name);
    name.trim_start_matches("service shop/").to_owned()
}

#[test]
fn paths_match_as_the_documentation_of_kubernetes_has_it() {
    // Kind, path of the rule, path of the request, whether they match.
    let examples = [
        ("Prefix", "/", "/", true),
        ("Prefix", "/", "/anything/at/all", true),
        ("Exact", "/foo", "/foo", true),
        ("Exact", "/foo", "/bar", false),
        ("Exact", "/foo", "/foo/", false),
        ("Exact", "/foo/", "/foo", false),
        ("Prefix", "/foo", "/foo", true),
        ("Prefix", "/foo", "/foo/", true),
        ("Prefix", "/foo/", "/foo", true),
        ("Prefix", "/foo/", "/foo/", true),
        ("Prefix", "/aaa/bb", "/aaa/bbb", false),
        ("Prefix", "/aaa/bbb", "/aaa/bbb", true),
        ("Prefix", "/aaa/bbb/", "/aaa/bbb", true),
        ("Prefix", "/aaa/bbb", "/aaa/bbb/", true),
        ("Prefix", "/aaa/bbb", "/aaa/bbb/ccc", true),
        ("Prefix", "/aaa/bbb", "/aaa/bbbxyz", false),
        ("Prefix", "/foo", "/FOO", false),
        ("ImplementationSpecific", "/foo", "/foo/bar", true),
    ];
    for (kind, path, asked, matches) in examples {
        let table = table(&one(json!([rule("", &[(kind, path, "a")])])), &Objects::with(&["a"]));
        assert_eq!(goes(&table, "any", asked) == "a", matches, "{kind} {path}, asked for {asked}");
    }
}

#[test]
fn the_longest_path_wins_and_exact_before_prefix() {
    let paths = [
        ("Prefix", "/", "root"),
        ("Prefix", "/aaa", "short"),
        ("Prefix", "/aaa/bbb", "long"),
        ("Exact", "/aaa", "exact"),
        ("Prefix", "/x/", "slash"),
        ("Prefix", "/x", "plain"),
    ];
    let objects = Objects::with(&["root", "short", "long", "exact", "slash", "plain"]);
    let table = table(&one(json!([rule("", &paths)])), &objects);
    assert_eq!(goes(&table, "h", "/ccc"), "root");
    assert_eq!(goes(&table, "h", "/aaa"), "exact");
    assert_eq!(goes(&table, "h", "/aaa/"), "short");
    assert_eq!(goes(&table, "h", "/aaa/ccc"), "short");
    assert_eq!(goes(&table, "h", "/aaa/bbb/ccc"), "long");
    assert_eq!(goes(&table, "h", "/aaa//bbb"), "short", "an empty element is one");
    assert_eq!(goes(&table, "h", "/x/y"), "slash");
}

#[test]
fn a_named_host_comes_before_a_wildcard_before_any() {
    let rules = json!([
        rule("", &[("Prefix", "/", "any")]),
        rule("*.example.com", &[("Prefix", "/", "wild")]),
        rule("WWW.example.com", &[("Prefix", "/a", "named")]),
    ]);
    let table = table(&one(rules), &Objects::with(&["any", "wild", "named"]));
    assert_eq!(goes(&table, "www.example.com", "/a"), "named");
    assert_eq!(goes(&table, "www.example.com", "/"), "wild", "the rule of the wildcard is for this host as well");
    assert_eq!(goes(&table, "api.example.com", "/a"), "wild");
    assert_eq!(goes(&table, "example.com", "/a"), "any", "a star is one label");
    assert_eq!(goes(&table, "a.b.example.com", "/a"), "any", "a star is one label");
    assert_eq!(goes(&table, "", "/a"), "any");
}

#[test]
fn what_no_rule_takes_goes_to_a_default_backend() {
    let rules = json!([rule("a.example", &[("Prefix", "/x", "rule")])]);
    let own = ingress("own", 1, json!({"defaultBackend": to("own"), "rules": rules}));
    let all = ingress("all", 2, json!({"defaultBackend": to("all")}));
    let objects = Objects::with(&["rule", "own", "all"]);
    let both = table(&[own.clone(), all], &objects);
    assert_eq!(goes(&both, "a.example", "/x"), "rule");
    assert_eq!(goes(&both, "a.example", "/y"), "own");
    assert_eq!(goes(&both, "b.example", "/y"), "all");
    let alone = table(&[own], &objects);
    assert_eq!(goes(&alone, "b.example", "/y"), "own");
    let none = table(&one(json!([rule("a.example", &[("Prefix", "/x", "rule")])])), &objects);
    assert_eq!(goes(&none, "b.example", "/x"), "nobody");
    assert_eq!(goes(&none, "a.example", "/y"), "nobody");
}

#[test]
fn the_older_ingress_keeps_what_two_claim_and_the_other_is_told() {
    let claim = |service: &str| json!({"rules": [rule("a.example", &[("Prefix", "/x", service)])]});
    let (older, younger) = (ingress("z", 1, claim("first")), ingress("a", 2, claim("second")));
    let table = table(&[younger, older], &Objects::with(&["first", "second"]));
    assert_eq!(goes(&table, "a.example", "/x"), "first");
    let told: Vec<String> =
        table.problems.iter().map(|p| format!("{} {} {}", p.ingress, p.reason, p.message)).collect();
    assert_eq!(told, ["shop/a PathTaken /x of a.example belongs to the older ingress shop/z"]);
}

fn endpoints(table: &Table, client: &str) -> Vec<String> {
    let backend = table.route("h", "/").unwrap();
    backend.endpoints(client.parse::<IpAddr>().unwrap()).map(|e| e.to_string()).collect()
}

fn default_to(port: Value) -> Vec<Arc<Ingress>> {
    vec![ingress("web", 0, json!({"defaultBackend": {"service": {"name": "a", "port": port}}}))]
}

#[test]
fn endpoints_take_turns_and_a_sticky_client_stays() {
    let mut objects = Objects::with(&["a"]);
    objects.slice("a", &[("10.0.0.9", Use::Ready), ("10.0.0.8", Use::Ending)]);
    let turns = table(&default_to(json!({"name": "http"})), &objects);
    assert_eq!(endpoints(&turns, "192.0.2.1"), ["10.0.0.1:8080", "10.0.0.9:8080"]);
    assert_eq!(endpoints(&turns, "192.0.2.1"), ["10.0.0.9:8080", "10.0.0.1:8080"], "the next one comes first");
    let sticky = ServiceEntry { is_sticky: true, ..(*objects.services["shop/a"]).clone() };
    objects.put("a", sticky);
    let stays = table(&default_to(json!({"number": 80})), &objects);
    assert_eq!(endpoints(&stays, "192.0.2.1"), endpoints(&stays, "192.0.2.1"));
    let firsts: BTreeSet<String> = (1..60).map(|n| endpoints(&stays, &format!("192.0.2.{n}")).remove(0)).collect();
    assert_eq!(firsts.len(), 2, "clients are spread");
}

#[test]
fn endpoints_that_end_serve_while_there_is_no_other() {
    let mut objects = Objects::with(&["a"]);
    objects.slices.clear();
    objects.slice("a", &[("10.0.0.8", Use::Ending)]);
    assert_eq!(endpoints(&table(&default_to(json!({"number": 80})), &objects), "192.0.2.1"), ["10.0.0.8:8080"]);
}

#[test]
fn it_is_said_why_nobody_answers() {
    let why = |port: Value, objects: &Objects| {
        let table = table(&default_to(port), objects);
        let said = table.route("h", "/").unwrap().why_empty();
        (said, table.problems.len())
    };
    let mut objects = Objects::with(&["a"]);
    assert_eq!(why(json!({"number": 81}), &objects), ("service shop/a has no TCP port 81".into(), 1));
    assert_eq!(why(json!({"name": "web"}), &objects), ("service shop/a has no TCP port named web".into(), 1));
    objects.slices.clear();
    assert_eq!(why(json!({"number": 80}), &objects), ("service shop/a has no ready endpoint".into(), 0));
    objects.put("a", ServiceEntry { is_external_name: true, ..ServiceEntry::default() });
    assert!(why(json!({"number": 80}), &objects).0.contains("type ExternalName"));
    objects.services.clear();
    assert_eq!(why(json!({"number": 80}), &objects), ("service shop/a is not there".into(), 1));
    let resource = json!({"defaultBackend": {"resource": {"kind": "Bucket", "name": "b", "apiGroup": "x"}}});
    let table = table(&[ingress("web", 0, resource)], &objects);
    assert!(table.problems.first().unwrap().message.starts_with("Bucket b is no service"));
}

fn certificate() -> Arc<TlsEntry> {
    Arc::new(TlsEntry(certificates::own().map(Arc::new)))
}

#[test]
fn certificates_are_chosen_by_host() {
    let mut objects = Objects::with(&["a"]);
    let (named, wild, rest) = (certificate(), certificate(), certificate());
    for (name, entry) in [("named", &named), ("wild", &wild), ("rest", &rest)] {
        objects.secrets.insert(format!("shop/{name}"), entry.clone());
    }
    let tls = json!([
        {"hosts": ["a.example.com"], "secretName": "named"},
        {"hosts": ["*.example.com"], "secretName": "wild"},
        {"hosts": ["b.example.com"], "secretName": "missing"},
        {"hosts": ["c.example.com"]},
    ]);
    let rules = json!([rule("a.example.com", &[("Prefix", "/", "a")])]);
    let first = ingress("first", 0, json!({"tls": tls, "rules": rules}));
    // Without hosts of its own it is for those of the rules; without rules for all.
    let second = ingress("second", 1, json!({"tls": [{"secretName": "rest"}], "defaultBackend": to("a")}));
    let made = table(&[first.clone(), second.clone()], &objects);
    let is = |host: Option<&str>, entry: &TlsEntry| {
        Arc::ptr_eq(made.certificates.find(host).unwrap(), entry.0.as_ref().unwrap())
    };
    assert!(is(Some("A.example.com"), &named));
    assert!(is(Some("b.example.com"), &wild), "better than none");
    assert!(is(Some("a.b.example.com"), &rest) && is(None, &rest));
    let told: Vec<&str> = made.problems.iter().map(|p| p.message.as_str()).collect();
    assert_eq!(told, ["secret missing is not there"]);
    let keys: Vec<String> = secrets(&[first, second]).iter().map(ToString::to_string).collect();
    assert_eq!(keys, ["shop/missing", "shop/named", "shop/rest", "shop/wild"]);
}

#[test]
fn a_secret_that_is_no_certificate_is_told() {
    let mut objects = Objects::with(&["a"]);
    let secret = serde_json::from_value(json!({"data": {"tls.crt": "eA==", "tls.key": "eA=="}})).unwrap();
    objects.secrets.insert("shop/bad".into(), Arc::new(certificates::entry(secret)));
    let spec = json!({"tls": [{"secretName": "bad"}], "rules": [rule("a.example", &[("Prefix", "/", "a")])]});
    let table = table(&[ingress("web", 0, spec)], &objects);
    assert!(table.certificates.find(Some("a.example")).is_none());
    assert!(table.problems.first().unwrap().message.starts_with("secret bad is no certificate with its key"));
}
