//! Which certificate is shown to whom.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::watch;

use crate::table::{Table, parent};

/// What a Secret is good for: a certificate with its key, or why not.
#[derive(Debug, Clone)]
pub(crate) struct TlsEntry(pub Result<Arc<CertifiedKey>, String>);

/// Reads a Secret of type `kubernetes.io/tls`.
pub(crate) fn entry(secret: Secret) -> TlsEntry {
    let data = secret.data.unwrap_or_default();
    let field = |key: &str| data.get(key).map(|bytes| bytes.0.as_slice()).ok_or_else(|| format!("it has no {key}"));
    TlsEntry(field("tls.crt").and_then(|certificate| pair(certificate, field("tls.key")?)).map(Arc::new))
}

fn pair(certificate: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("tls.crt is no certificate in PEM: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("tls.key is no key in PEM: {error}"))?;
    certified(chain, &key)
}

fn certified(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'_>) -> Result<CertifiedKey, String> {
    if chain.is_empty() {
        return Err("tls.crt has no certificate".to_owned());
    }
    let key = any_supported_type(key).map_err(|error| format!("tls.key cannot be used: {error}"))?;
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(pair),
        Err(error) => Err(format!("tls.key does not belong to tls.crt: {error}")),
    }
}

/// Certificates by host.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows the star and its dot.
    wildcards: HashMap<String, Arc<CertifiedKey>>,
    /// For every other host.
    anywhere: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Shows a certificate for a host, empty for all; the first one stays.
    pub(crate) fn add(&mut self, host: &str, certificate: &Arc<CertifiedKey>) {
        let (host, certificate) = (host.to_ascii_lowercase(), certificate.clone());
        match (host.strip_prefix("*."), host.is_empty()) {
            (_, true) => {
                self.anywhere.get_or_insert(certificate);
            }
            (Some(domain), _) => {
                self.wildcards.entry(domain.to_owned()).or_insert(certificate);
            }
            (None, _) => {
                self.exact.entry(host).or_insert(certificate);
            }
        }
    }

    pub(crate) fn find(&self, host: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let host = host.unwrap_or_default().to_ascii_lowercase();
        self.exact.get(&host).or_else(|| self.wildcards.get(parent(&host)?)).or(self.anywhere.as_ref())
    }
}

/// Chooses by the name that a client asks for; a certificate of the gateway's own for unknown ones.
#[derive(Debug)]
pub(crate) struct Resolver {
    pub table: watch::Receiver<Arc<Table>>,
    pub own: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.table.borrow();
        Some(table.certificates.find(hello.server_name()).unwrap_or(&self.own).clone())
    }
}

/// A certificate that nobody vouches for.
pub(crate) fn own() -> Result<CertifiedKey, String> {
    let failed = |error: rcgen::Error| format!("cannot make a certificate: {error}");
    let mut params = rcgen::CertificateParams::new(vec!["gateway.oxikube.invalid".to_owned()]).map_err(failed)?;
    params.distinguished_name.push(rcgen::DnType::CommonName, "oxikube gateway default certificate");
    let key = rcgen::KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    certified(vec![certificate.der().clone()], &key)
}
