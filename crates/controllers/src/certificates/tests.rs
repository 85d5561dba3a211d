use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, SanType};
use serde_json::json;

use super::approve::{Claim, claims, serves_itself};
use super::sign::{Authority, Signed, sign};
use super::{clean, rules};

fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap().pem();
    Authority { certificate, key: key.serialize_pem(), duration: Duration::from_secs(86_400) }
}

fn request(
    signer: &str,
    name: &str,
    organization: &str,
    names: &[SanType],
    usages: &[&str],
) -> CertificateSigningRequest {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = names.to_vec();
    let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    CertificateSigningRequest {
        spec: CertificateSigningRequestSpec {
            request: ByteString(pem.into_bytes()),
            signer_name: signer.to_owned(),
            username: Some("system:node:a".into()),
            usages: Some(usages.iter().map(|usage| (*usage).to_owned()).collect()),
            expiration_seconds: Some(3600),
            ..CertificateSigningRequestSpec::default()
        },
        ..CertificateSigningRequest::default()
    }
}

const CLIENT: &[&str] = &["digital signature", "client auth"];

#[test]
fn kubelets_are_recognized() {
    let asked = |name: &str| claims(&request(rules::KUBELET_CLIENT, name, "system:nodes", &[], CLIENT));
    assert_eq!(asked("system:node:a"), [Claim::SelfNode, Claim::Node]);
    assert_eq!(asked("system:node:b"), [Claim::Node], "for another node than the one who asks");
    assert_eq!(asked("admin"), []);
    assert_eq!(claims(&request(rules::CLIENT, "system:node:a", "system:nodes", &[], CLIENT)), []);
}

#[test]
fn a_node_serves_under_its_own_name_and_addresses_only() {
    let node = |name: &str, addresses: &[&str]| {
        let addresses = addresses.iter().map(|a| json!({"type": "InternalIP", "address": a})).collect::<Vec<_>>();
        serde_json::from_value(json!({"metadata": {"name": name}, "status": {"addresses": addresses}})).unwrap()
    };
    let server: &[&str] = &["digital signature", "server auth"];
    let asked = |user: &str, names: &[&str], addresses: &[&str]| {
        let names = names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap()));
        let addresses = addresses.iter().map(|address| SanType::IpAddress(address.parse().unwrap()));
        let all: Vec<_> = names.chain(addresses).collect();
        let mut asked = request(rules::KUBELET_SERVING, user, "system:nodes", &all, server);
        asked.spec.groups = Some(vec!["system:nodes".into()]);
        asked
    };
    let nodes = [node("a", &["10.0.0.1"]), node("b", &["10.0.0.2"])];
    let own = asked("system:node:a", &["a"], &["10.0.0.1"]);
    assert!(serves_itself(&own, &nodes));
    for (names, addresses) in [
        (vec!["a", "kubernetes"], vec!["10.0.0.1"]),
        (vec!["a"], vec!["10.0.0.2"]),
        (vec!["a"], vec![]),
        (vec![], vec!["10.0.0.1"]),
    ] {
        assert!(!serves_itself(&asked("system:node:a", &names, &addresses), &nodes), "{names:?} {addresses:?}");
    }
    assert!(!serves_itself(&asked("system:node:b", &["b"], &["10.0.0.2"]), &nodes), "another node asks");
    assert!(!serves_itself(&own, &nodes[1..]), "it has not said where it is");
    assert!(!serves_itself(&own, &[node("a", &["10.0.0.1"]), node("b", &["10.0.0.1"])]), "another node's address");
    let mut stranger = own.clone();
    stranger.spec.groups = None;
    assert!(!serves_itself(&stranger, &nodes), "not a node by its groups");
}

#[test]
fn a_certificate_says_what_was_asked_for_and_approved() {
    let asked = request(rules::KUBELET_CLIENT, "system:node:a", "system:nodes", &[], CLIENT);
    let now = jiff::Timestamp::now();
    let Signed::Certificate(pem) = sign(&authority(), &asked, now) else { panic!("refused") };
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    assert_eq!(certificate.subject().to_string(), "O=system:nodes, CN=system:node:a");
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth);
    let validity = certificate.validity();
    assert_eq!(validity.not_after.timestamp(), now.as_second() + 3600);
    assert_eq!(validity.not_before.timestamp(), now.as_second() - 300);
}

#[test]
fn certificates_of_a_short_time_begin_now() {
    let mut asked = request(rules::KUBELET_CLIENT, "system:node:a", "system:nodes", &[], CLIENT);
    let short = super::sign::Authority { duration: std::time::Duration::from_secs(60), ..authority() };
    let now = jiff::Timestamp::now();
    for wanted in [None, Some(3600)] {
        asked.spec.expiration_seconds = wanted;
        let Signed::Certificate(pem) = sign(&short, &asked, now) else { panic!("refused") };
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        let validity = certificate.validity();
        let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        assert_eq!((from, to), (now.as_second(), now.as_second() + 60));
    }
}

#[test]
fn what_a_signer_does_not_sign() {
    let address = SanType::IpAddress("10.0.0.1".parse().unwrap());
    let server = &["digital signature", "server auth"];
    for (asked, why) in [
        (request(rules::KUBELET_CLIENT, "system:node:a", "nodes", &[], CLIENT), "organization"),
        (request(rules::KUBELET_CLIENT, "a", "system:nodes", &[], CLIENT), "common name"),
        (request(rules::KUBELET_CLIENT, "system:node:a", "system:nodes", &[address], CLIENT), "IP subjectAltNames"),
        (request(rules::KUBELET_CLIENT, "system:node:a", "system:nodes", &[], server), "usages did not match"),
        (request(rules::KUBELET_SERVING, "system:node:a", "system:nodes", &[], server), "DNS or IP"),
        (request(rules::CLIENT, "a", "system:masters", &[], CLIENT), "system:masters"),
    ] {
        match sign(&authority(), &asked, jiff::Timestamp::now()) {
            Signed::Refused(said) => assert!(said.contains(why), "{said}"),
            other => panic!("{other:?}"),
        }
    }
    let foreign = request("example.com/mine", "a", "b", &[], CLIENT);
    assert_eq!(sign(&authority(), &foreign, jiff::Timestamp::now()), Signed::Foreign);
}

#[test]
fn old_requests_go() {
    let with = |conditions: serde_json::Value| {
        let mut asked = request(rules::CLIENT, "a", "b", &[], CLIENT);
        asked.metadata.creation_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        asked.status = serde_json::from_value(json!({"conditions": conditions})).unwrap();
        clean::left(&asked, "2026-01-01T02:00:00Z".parse().unwrap()).as_secs()
    };
    let at = |kind: &str| json!([{"type": kind, "status": "True", "lastUpdateTime": "2026-01-01T01:30:00Z"}]);
    assert_eq!(with(json!([])), 22 * 3600);
    assert_eq!(with(at("Denied")), 1800);
    assert_eq!(with(at("Approved")), 23 * 3600 + 1800, "it has no certificate yet");
}
