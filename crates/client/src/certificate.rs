//! A certificate by request: the key is made here, the cluster signs.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/>

use std::net::IpAddr;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::watcher;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use x509_parser::prelude::{FromDer, X509Certificate};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A node's own, by which it is known to the API server.
    NodeClient {
        /// Name of the node.
        node: String,
    },
    /// That of a kubelet's server.
    NodeServing {
        /// Name of the node, which is also the name it answers to.
        node: String,
        /// Where it is reached.
        addresses: Vec<IpAddr>,
    },
}

/// A certificate with its key, PEM.
#[derive(Debug, Clone)]
pub struct Certified {
    /// Certificate, with those between it and the CA.
    pub certificate: String,
    /// Key, PKCS#8.
    pub key: String,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The request cannot be made.
    #[error("the request cannot be made: {0}")]
    Request(#[from] rcgen::Error),
    /// The API server does not take it.
    #[error("the API server does not take the request: {0}")]
    Api(Box<kube::Error>),
    /// The request cannot be followed.
    #[error("the request cannot be followed: {0}")]
    Watch(Box<watcher::Error>),
    /// It was denied, or failed.
    #[error("the cluster refuses the certificate: {0}")]
    Refused(String),
}

impl Wanted {
    fn node(&self) -> &str {
        match self {
            Self::NodeClient { node } | Self::NodeServing { node, .. } => node,
        }
    }

    /// Signer, usage, and what the request's name begins with.
    fn terms(&self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::NodeClient { .. } => ("kubernetes.io/kube-apiserver-client-kubelet", "client auth", "node-csr-"),
            Self::NodeServing { .. } => ("kubernetes.io/kubelet-serving", "server auth", "csr-"),
        }
    }

    /// The request, signed with the key it is for; PEM.
    fn signed(&self, key: &KeyPair) -> Result<String, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(DnType::CommonName, format!("system:node:{}", self.node()));
        if let Self::NodeServing { node, addresses } = self {
            params.subject_alt_names.push(SanType::DnsName(node.as_str().try_into()?));
            params.subject_alt_names.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
        }
        params.serialize_request(key)?.pem()
    }
}

/// Asks for a certificate and waits for it, for as long as the caller does.
///
/// # Errors
/// When it is refused or cannot be asked for.
pub async fn request(client: &kube::Client, wanted: &Wanted) -> Result<Certified, RequestError> {
    let key = KeyPair::generate()?;
    let (signer, usage, prefix) = wanted.terms();
    let object = CertificateSigningRequest {
        metadata: ObjectMeta { generate_name: Some(prefix.to_owned()), ..ObjectMeta::default() },
        spec: CertificateSigningRequestSpec {
            request: ByteString(wanted.signed(&key)?.into_bytes()),
            signer_name: signer.to_owned(),
            usages: Some(vec!["digital signature".to_owned(), usage.to_owned()]),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    };
    let api = Api::<CertificateSigningRequest>::all(client.clone());
    let asked =
        api.create(&PostParams::default(), &object).await.map_err(|error| RequestError::Api(Box::new(error)))?;
    let name = asked.metadata.name.unwrap_or_default();
    let mut states = std::pin::pin!(watcher::watch_object(api, &name).take_while(|state| {
        let lives = !matches!(state, Ok(None));
        futures::future::ready(lives)
    }));
    while let Some(state) = states.try_next().await.map_err(|error| RequestError::Watch(Box::new(error)))? {
        if let Some(answer) = state.and_then(|request| answer(&request)) {
            let certificate = answer.map_err(RequestError::Refused)?;
            return Ok(Certified { certificate, key: key.serialize_pem() });
        }
    }
    Err(RequestError::Refused(format!("the request {name} was deleted")))
}

/// What came of a request; none while nothing did.
fn answer(request: &CertificateSigningRequest) -> Option<Result<String, String>> {
    let status = request.status.as_ref()?;
    if let Some(certificate) = status.certificate.as_ref().filter(|certificate| !certificate.0.is_empty()) {
        return Some(String::from_utf8(certificate.0.clone()).map_err(|error| error.to_string()));
    }
    let refused = status.conditions.iter().flatten().find(|c| c.type_ == "Denied" || c.type_ == "Failed")?;
    Some(Err(refused.message.clone().unwrap_or_default()))
}

/// A certificate that is exchanged before it ends.
pub trait Renewal {
    /// What it is called in messages.
    const WHAT: &'static str;
    /// How long the present one is good, without a reserve; nothing when there is none.
    fn left(&self) -> Duration;
    /// Gets the next one and shows it from then on.
    fn renew(&self) -> impl Future<Output = Result<(), String>> + Send;
}

/// A request that nobody answers for so long is asked anew.
const ANSWER: Duration = Duration::from_secs(300);
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// The clock on the wall may be set: it is looked at so often.
const LOOK: Duration = Duration::from_secs(3600);

/// Renews a certificate whenever its time comes; does not end by itself.
pub async fn keep<R: Renewal>(renewal: &R) {
    let mut pause = RETRY.0;
    loop {
        let left = renewal.left();
        if !left.is_zero() {
            pause = RETRY.0;
            tokio::time::sleep(left.min(LOOK)).await;
            continue;
        }
        match tokio::time::timeout(ANSWER, renewal.renew()).await {
            Ok(Ok(())) => tracing::info!("{} is new", R::WHAT),
            Ok(Err(error)) => tracing::warn!(error, "{} cannot be renewed", R::WHAT),
            Err(_) => tracing::warn!("nobody approves {}", R::WHAT),
        }
        if renewal.left().is_zero() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY.1);
        }
    }
}

/// How long a certificate (DER) is good until a fifth of its time is left; nothing for what is none.
pub fn left(certificate: &[u8]) -> Duration {
    let Ok((_, leaf)) = X509Certificate::from_der(certificate) else { return Duration::ZERO };
    let (from, to) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
    until_renewal(from, to, Timestamp::now().as_second())
}

/// Whether a certificate (DER) is over.
pub fn is_over(certificate: &[u8]) -> bool {
    let end = X509Certificate::from_der(certificate).map(|(_, leaf)| leaf.validity().not_after.timestamp());
    end.is_ok_and(|end| end <= Timestamp::now().as_second())
}

/// Seconds since the epoch.
fn until_renewal(from: i64, to: i64, now: i64) -> Duration {
    let renew = from.saturating_add(to.saturating_sub(from).max(0) / 5 * 4);
    Duration::from_secs(u64::try_from(renew.saturating_sub(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(status: serde_json::Value) -> CertificateSigningRequest {
        let spec = json!({"request": "", "signerName": "s"});
        serde_json::from_value(json!({"metadata": {}, "spec": spec, "status": status})).unwrap()
    }

    #[test]
    fn a_certificate_is_renewed_when_a_fifth_is_left() {
        assert_eq!(until_renewal(1000, 2000, 1000), Duration::from_secs(800));
        assert_eq!(until_renewal(1000, 2000, 1900), Duration::ZERO);
        assert_eq!(until_renewal(2000, 1000, 1500), Duration::from_secs(500));
        assert_eq!(left(b"no certificate"), Duration::ZERO);
    }

    #[test]
    fn an_answer_is_a_certificate_or_a_refusal() {
        assert_eq!(answer(&status(json!({"conditions": [{"type": "Approved", "status": "True"}]}))), None);
        assert_eq!(answer(&status(json!({"certificate": "cGVt"}))), Some(Ok("pem".into())));
        let denied = json!({"conditions": [{"type": "Denied", "status": "True", "message": "no"}]});
        assert_eq!(answer(&status(denied)), Some(Err("no".into())));
    }
}
