//! How a machine that knows a token finds out whether it talks to the right cluster. Pure.
//!
//! <https://kubernetes.io/docs/reference/setup-tools/kubeadm/kubeadm-join/#discovering-what-cluster-ca-to-trust>

use std::collections::BTreeMap;

use api::bootstrap::{KUBECONFIG, Token};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use x509_parser::prelude::parse_x509_pem;

use crate::pki;

/// Where the cluster is and whom to trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovered {
    /// Address of the API.
    pub server: String,
    /// The CA, PEM.
    pub ca: String,
}

/// Why a cluster is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// It does not know the token.
    #[error(
        "the cluster does not know the token {id}: it may have expired; make another with 'oxikube token create --print-join-command' where the cluster was started"
    )]
    UnknownToken {
        /// The part of it that may be known.
        id: String,
    },
    /// It knows the id, not the secret; or what it says was changed on the way.
    #[error("the cluster's answer is not signed with the token {id}: the token is wrong, or this is another cluster")]
    WrongSignature {
        /// The part of it that may be known.
        id: String,
    },
    /// It says nothing that could be understood.
    #[error("the cluster does not say where it is and what its certificate authority is ({0})")]
    NotUnderstood(String),
    /// The CA is another one.
    #[error(
        "the cluster's certificate authority has the fingerprint {found}, which is none of those given by --discovery-token-ca-cert-hash: the hash is wrong, or this is another cluster"
    )]
    ForeignCa {
        /// Its own.
        found: String,
    },
    /// A pin cannot be read.
    #[error(
        "'{0}' is no fingerprint; it is 'sha256:' and 64 hexadecimal digits, as 'oxikube token create --print-join-command' prints it"
    )]
    BadPin(String),
}

#[derive(Deserialize)]
struct Kubeconfig {
    clusters: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority_data: String,
}

/// The fingerprint of a certificate's public key, as kubeadm writes it. None for what is no certificate.
pub fn fingerprint(certificate: &str) -> Option<String> {
    pki::fingerprints(certificate).into_iter().next()
}

/// A certificate in the form that TLS libraries take; none for what is no certificate.
pub fn der(certificate: &str) -> Option<Vec<u8>> {
    parse_x509_pem(certificate.as_bytes()).ok().map(|(_, pem)| pem.contents)
}

/// Checks that a fingerprint looks like one.
///
/// # Errors
/// When it does not.
pub fn check_pin(pin: &str) -> Result<(), DiscoveryError> {
    let digits = pin.strip_prefix("sha256:").filter(|d| d.len() == 64 && d.bytes().all(|b| b.is_ascii_hexdigit()));
    digits.map(drop).ok_or_else(|| DiscoveryError::BadPin(pin.to_owned()))
}

/// Reads what `cluster-info` says, if it is signed with the token and its CA is one of those that are pinned; no pins
/// trust the token alone.
///
/// # Errors
/// When it is not to be trusted.
pub fn discover(data: &BTreeMap<String, String>, token: &Token, pins: &[String]) -> Result<Discovered, DiscoveryError> {
    let id = || token.id.clone();
    let text = data.get(KUBECONFIG).ok_or_else(|| not_understood("nothing is published"))?;
    let signature = data.get(&token.signature_key()).ok_or_else(|| DiscoveryError::UnknownToken { id: id() })?;
    if !token.verifies(text, signature) {
        return Err(DiscoveryError::WrongSignature { id: id() });
    }
    let found = read(data)?;
    let own = fingerprint(&found.ca).ok_or_else(|| not_understood("its certificate authority is no certificate"))?;
    if !pins.is_empty() && !pins.iter().any(|pin| pin.eq_ignore_ascii_case(&own)) {
        return Err(DiscoveryError::ForeignCa { found: own });
    }
    Ok(found)
}

fn not_understood(what: impl ToString) -> DiscoveryError {
    DiscoveryError::NotUnderstood(what.to_string())
}

/// Reads what `cluster-info` says, for somebody who trusts it already.
///
/// # Errors
/// When it says nothing that could be understood.
pub fn read(data: &BTreeMap<String, String>) -> Result<Discovered, DiscoveryError> {
    parse(data.get(KUBECONFIG).ok_or_else(|| not_understood("nothing is published"))?)
}

/// Reads where the cluster of a kubeconfig is.
///
/// # Errors
/// When it says nothing that could be understood.
pub fn parse(text: &str) -> Result<Discovered, DiscoveryError> {
    let config: Kubeconfig = serde_saphyr::from_str(text).map_err(not_understood)?;
    let cluster = config.clusters.into_iter().next().ok_or_else(|| not_understood("no cluster is named"))?.cluster;
    let ca = STANDARD.decode(cluster.certificate_authority_data).map_err(not_understood)?;
    let ca = String::from_utf8(ca).map_err(not_understood)?;
    Ok(Discovered { server: cluster.server, ca })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Pki;

    fn published(token: &Token) -> (BTreeMap<String, String>, String) {
        let folder = tempfile::tempdir().unwrap();
        let ca = Pki::open(folder.path()).unwrap().ca().to_owned();
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: \"\"\n  cluster:\n    certificate-authority-data: {}\n    server: https://192.0.2.1:6443\n",
            STANDARD.encode(&ca)
        );
        let signature = token.sign(&text);
        (BTreeMap::from([(KUBECONFIG.to_owned(), text), (token.signature_key(), signature)]), ca)
    }

    #[test]
    fn the_right_token_and_fingerprint_are_believed() {
        let token = Token::generate();
        let (data, ca) = published(&token);
        let pin = fingerprint(&ca).unwrap();
        check_pin(&pin).unwrap();
        let found = discover(&data, &token, &[pin]).unwrap();
        assert_eq!(found, Discovered { server: "https://192.0.2.1:6443".into(), ca });
        assert!(discover(&data, &token, &[]).is_ok());
    }

    #[test]
    fn a_wrong_token_or_fingerprint_is_not() {
        let token = Token::parse("abcdef.0123456789abcdef").unwrap();
        let (mut data, _) = published(&token);
        let pin = format!("sha256:{}", "0".repeat(64));
        assert!(matches!(discover(&data, &token, &[pin]), Err(DiscoveryError::ForeignCa { .. })));
        let unknown = Token::parse("zzzzzz.0123456789abcdef").unwrap();
        assert!(matches!(discover(&data, &unknown, &[]), Err(DiscoveryError::UnknownToken { .. })));
        let wrong = Token::parse("abcdef.0123456789abcdee").unwrap();
        assert!(matches!(discover(&data, &wrong, &[]), Err(DiscoveryError::WrongSignature { .. })));
        data.insert(KUBECONFIG.into(), "clusters: []".into());
        assert!(matches!(discover(&data, &token, &[]), Err(DiscoveryError::WrongSignature { .. })));
        assert!(check_pin("sha256:12").is_err());
    }
}
