//! TLS of the server; a client may show a certificate, and must not.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use super::ServerError;
use super::serving::Serving;
use crate::config::ServerTls;

pub(super) fn config(files: &ServerTls, serving: Arc<Serving>) -> Result<Arc<ServerConfig>, ServerError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(ServerError::Tls)?;
    let verifier: Arc<dyn ClientCertVerifier> = match &files.client_ca_file {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(ServerError::Tls)?;
            }
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = builder.allow_unauthenticated().build();
            verifier.map_err(|error| ServerError::ClientCa(error.to_string()))?
        }
    };
    let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(serving);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The certificate in the files, with its key.
pub(super) fn certified(files: &ServerTls) -> Result<CertifiedKey, ServerError> {
    let key = PrivateKeyDer::from_pem_file(&files.key_file).map_err(|error| unreadable(&files.key_file, error))?;
    let chain = certificates(&files.cert_file)?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider()).map_err(ServerError::Tls)
}

fn unreadable(path: &Path, error: rustls::pki_types::pem::Error) -> ServerError {
    ServerError::File { path: path.to_owned(), source: std::io::Error::other(error) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ServerError> {
    let all = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(path, error))?;
    all.collect::<Result<Vec<_>, _>>().map_err(|error| unreadable(path, error))
}
