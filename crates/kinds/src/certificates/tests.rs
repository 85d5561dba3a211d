use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::tests::{merge, text};

/// Made by openssl: P-256, subject CN=t.
const REQUEST: &str = include_str!("testdata/request.pem");

fn request(fragment: Value) -> Value {
    let mut request = json!({"spec": {"request": STANDARD.encode(REQUEST), "signerName": "example.com/s", "usages": ["client auth"]}});
    merge(&mut request, &json!({"spec": fragment}));
    request
}

#[test]
fn requests_that_are_refused() {
    let signer = |name: &str| request(json!({"signerName": name}));
    for (object, expected) in [
        (request(json!({})), ""),
        (
            request(json!({"request": "YQ=="})),
            "spec.request: Invalid value: \"YQ==\": PEM block type must be CERTIFICATE REQUEST",
        ),
        (request(json!({"usages": null})), "spec.usages: Required value"),
        (
            request(json!({"usages": ["client auth", "client auth"]})),
            "spec.usages[1]: Duplicate value: \"client auth\"",
        ),
        (
            request(json!({"expirationSeconds": 599})),
            "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)",
        ),
        (
            signer("kubernetes.io/legacy-unknown"),
            "spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName is not allowed via this API version",
        ),
        (
            signer("a.b/c/d"),
            "spec.signerName: Invalid value: \"a.b/c/d\": must be a fully qualified domain and path of the form 'example.com/signer-name'",
        ),
        (
            signer("local/s"),
            "spec.signerName: Invalid value: \"local\": should be a domain with at least two segments separated by dots",
        ),
        (signer(""), "spec.signerName: Required value"),
    ] {
        assert_eq!(text(&validate(&object)), expected);
    }
    assert!(
        text(&validate(&signer("a.b/C")))
            .starts_with("spec.signerName: Invalid value: \"C\": validating label \"C\": a lowercase")
    );
    let found = text(&validate(&request(json!({"usages": ["x"]}))));
    assert!(
        found.starts_with("spec.usages[0]: Unsupported value: \"x\": supported values: \"any\", \"cert sign\""),
        "{found}"
    );
}

#[test]
fn a_request_that_was_signed_by_another_key_is_none() {
    let mut der = x509_parser::pem::parse_x509_pem(REQUEST.as_bytes()).unwrap().1.contents;
    let at = der.windows(4).position(|window| window == [0x55, 0x04, 0x03, 0x0c]).unwrap();
    der[at + 5] ^= 1;
    let body = STANDARD.encode(der);
    let forged = format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n");
    let found = text(&validate(&request(json!({"request": STANDARD.encode(forged)}))));
    assert!(found.ends_with("x509: signature verification failure"), "{found}");
}

#[test]
fn each_door_changes_its_own() {
    let approved = json!({"type": "Approved", "status": "True"});
    let old = json!({"status": {"certificate": "c"}});
    let mut new = json!({"status": {"certificate": "d", "conditions": [approved]}});
    let mut by_status = new.clone();
    door("approval", &mut new, &old);
    assert_eq!(new, json!({"status": {"certificate": "c", "conditions": [approved]}}));
    door("status", &mut by_status, &old);
    assert_eq!(by_status, json!({"status": {"certificate": "d"}}));
}

#[test]
fn what_was_said_of_a_request_stays_said() {
    let is = |kind: &str| json!({"type": kind, "status": "True"});
    for (old, new, expected) in [
        (json!({}), json!({"conditions": [is("Approved")]}), ""),
        (
            json!({}),
            json!({"conditions": [is("Approved"), is("Denied")]}),
            "status.conditions: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive",
        ),
        (
            json!({}),
            json!({"conditions": [{"type": "Failed", "status": "False"}, {"status": "True"}]}),
            "status.conditions[0].status: Unsupported value: \"False\": supported values: \"True\" | status.conditions[1].type: Required value",
        ),
        (json!({}), json!({"conditions": [is("X"), is("X")]}), "status.conditions[1].type: Duplicate value: \"X\""),
        (
            json!({"conditions": [is("Denied")]}),
            json!({}),
            "status.conditions: Forbidden: updates may not remove a condition of type \"Denied\"",
        ),
        (
            json!({}),
            json!({"certificate": STANDARD.encode(REQUEST)}),
            "status.certificate: Invalid value: \"<certificate data>\": only CERTIFICATE PEM blocks are allowed, found \"CERTIFICATE REQUEST\"",
        ),
        (
            json!({}),
            json!({"certificate": "YQ=="}),
            "status.certificate: Invalid value: \"<certificate data>\": must contain at least one CERTIFICATE PEM block",
        ),
        (
            json!({"certificate": "YQ=="}),
            json!({"certificate": "Yg=="}),
            "status.certificate: Forbidden: updates may not modify existing certificate content",
        ),
    ] {
        let (new, old) = (json!({"status": new}), json!({"status": old}));
        assert_eq!(text(&status::validate(&new, &old)), expected, "{new}");
    }
}
