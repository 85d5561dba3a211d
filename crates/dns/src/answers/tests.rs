use super::*;
use crate::testing::{cluster, zone};

/// The answer in one line: code or records, then what is added.
fn ask(name: &str, kind: RecordType) -> String {
    let name: Name = name.parse().unwrap();
    match answer(&zone(), &cluster(), &name, kind) {
        Verdict::Elsewhere => "elsewhere".into(),
        Verdict::Ours(reply) => {
            let has_soa = matches!(reply.authorities.as_slice(), [r] if r.record_type() == RecordType::SOA);
            assert_eq!(has_soa, reply.answers.is_empty(), "negative answers carry the SOA, others do not");
            let list = |records: &[Record]| {
                records.iter().map(|r| format!("{} {}", r.record_type(), r.data)).collect::<Vec<_>>().join(", ")
            };
            match (reply.code, reply.answers.is_empty()) {
                (ResponseCode::NoError, true) => "nodata".into(),
                (ResponseCode::NoError, false) if reply.additionals.is_empty() => list(&reply.answers),
                (ResponseCode::NoError, false) => format!("{} + {}", list(&reply.answers), list(&reply.additionals)),
                (code, _) => format!("{code:?}"),
            }
        }
    }
}

#[test]
fn service_with_cluster_address() {
    assert_eq!(ask("web.default.svc.cluster.local.", RecordType::A), "A 10.96.0.5");
    assert_eq!(ask("web.default.svc.cluster.local.", RecordType::AAAA), "AAAA fd00::5");
    assert_eq!(ask("WEB.Default.svc.Cluster.Local.", RecordType::A), "A 10.96.0.5");
    assert_eq!(ask("web.default.svc.cluster.local.", RecordType::MX), "nodata");
    assert_eq!(ask("10-244-0-9.web.default.svc.cluster.local.", RecordType::A), "A 10.244.0.9");
}

#[test]
fn names_that_are_not_there() {
    for name in [
        "absent.default.svc.cluster.local.",
        "web.absent.svc.cluster.local.",
        "absent.svc.cluster.local.",
        "web.cluster.local.",
        "x.web.default.svc.cluster.local.",
        "a.b.c.web.default.svc.cluster.local.",
        "x.outside.default.svc.cluster.local.",
    ] {
        assert_eq!(ask(name, RecordType::A), "NXDomain", "{name}");
    }
}

#[test]
fn names_with_others_below_them_exist() {
    for name in ["cluster.local.", "svc.cluster.local.", "default.svc.cluster.local.", "default.pod.cluster.local."] {
        assert_eq!(ask(name, RecordType::A), "nodata", "{name}");
    }
    assert_eq!(ask("_tcp.web.default.svc.cluster.local.", RecordType::A), "nodata");
    assert_eq!(ask("_udp.web.default.svc.cluster.local.", RecordType::A), "NXDomain");
}

#[test]
fn headless_service() {
    assert_eq!(ask("db.default.svc.cluster.local.", RecordType::A), "A 10.244.0.2, A 10.244.0.3");
    assert_eq!(ask("db.default.svc.cluster.local.", RecordType::AAAA), "nodata");
    assert_eq!(ask("db-0.db.default.svc.cluster.local.", RecordType::A), "A 10.244.0.2");
    assert_eq!(ask("10-244-0-3.db.default.svc.cluster.local.", RecordType::A), "A 10.244.0.3");
    assert_eq!(ask("db-2.db.default.svc.cluster.local.", RecordType::A), "NXDomain", "it is not ready");
    assert_eq!(ask("eager.default.svc.cluster.local.", RecordType::A), "A 10.244.0.4");
    assert_eq!(ask("empty.default.svc.cluster.local.", RecordType::A), "NXDomain");
}

#[test]
fn ports() {
    let web = "SRV 0 100 80 web.default.svc.cluster.local. + A 10.96.0.5, AAAA fd00::5";
    assert_eq!(ask("_http._tcp.web.default.svc.cluster.local.", RecordType::SRV), web);
    assert_eq!(ask("_http._tcp.web.default.svc.cluster.local.", RecordType::A), "nodata");
    assert_eq!(ask("_http._udp.web.default.svc.cluster.local.", RecordType::SRV), "NXDomain");
    assert_eq!(ask("_._udp.web.default.svc.cluster.local.", RecordType::SRV), "NXDomain", "no name, no record");
    // Headless: the port of the endpoints, and a name for each.
    assert_eq!(
        ask("_sql._tcp.db.default.svc.cluster.local.", RecordType::SRV),
        "SRV 0 50 15432 10-244-0-3.db.default.svc.cluster.local., SRV 0 50 15432 db-0.db.default.svc.cluster.local. \
         + A 10.244.0.2, A 10.244.0.3"
    );
}

#[test]
fn external_name() {
    assert_eq!(ask("outside.default.svc.cluster.local.", RecordType::A), "CNAME www.example.com.");
    let follow = |kind| match answer(&zone(), &cluster(), &"outside.default.svc.cluster.local.".parse().unwrap(), kind)
    {
        Verdict::Ours(reply) => reply.follow.map(|name| name.to_string()),
        Verdict::Elsewhere => None,
    };
    assert_eq!(follow(RecordType::A).as_deref(), Some("www.example.com."));
    assert_eq!(follow(RecordType::CNAME), None);
}

#[test]
fn pods() {
    assert_eq!(ask("10-244-0-7.default.pod.cluster.local.", RecordType::A), "A 10.244.0.7");
    assert_eq!(ask("fd00--7.default.pod.cluster.local.", RecordType::AAAA), "AAAA fd00::7");
    assert_eq!(ask("10-244-0-7.default.pod.cluster.local.", RecordType::AAAA), "nodata");
    assert_eq!(ask("10-244-0-7.absent.pod.cluster.local.", RecordType::A), "NXDomain");
    assert_eq!(ask("nginx.default.pod.cluster.local.", RecordType::A), "NXDomain");
}

#[test]
fn addresses_back_to_names() {
    assert_eq!(ask("5.0.96.10.in-addr.arpa.", RecordType::PTR), "PTR web.default.svc.cluster.local.");
    let v6 = "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.";
    assert_eq!(ask(v6, RecordType::PTR), "PTR web.default.svc.cluster.local.");
    assert_eq!(ask("2.0.244.10.in-addr.arpa.", RecordType::PTR), "PTR db-0.db.default.svc.cluster.local.");
    assert_eq!(ask("4.0.244.10.in-addr.arpa.", RecordType::PTR), "PTR 10-244-0-4.eager.default.svc.cluster.local.");
    // A pod behind a cluster address has no name of its own.
    assert_eq!(ask("9.0.244.10.in-addr.arpa.", RecordType::PTR), "elsewhere");
    assert_eq!(ask("1.1.1.1.in-addr.arpa.", RecordType::PTR), "elsewhere");
    assert_eq!(ask("5.0.96.10.in-addr.arpa.", RecordType::A), "nodata");
}

#[test]
fn the_zone_itself() {
    assert_eq!(ask("dns-version.cluster.local.", RecordType::TXT), "TXT 1.1.0");
    assert_eq!(ask("ns.dns.cluster.local.", RecordType::A), "A 10.96.0.10");
    assert_eq!(ask("cluster.local.", RecordType::NS), "NS ns.dns.cluster.local.");
    assert!(ask("cluster.local.", RecordType::SOA).starts_with("SOA ns.dns.cluster.local. hostmaster.cluster.local."));
    assert_eq!(ask("example.com.", RecordType::A), "elsewhere");
    assert_eq!(ask("xcluster.local.", RecordType::A), "elsewhere");
}
