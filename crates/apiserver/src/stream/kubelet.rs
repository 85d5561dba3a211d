//! How the API server reaches kubelets.

use std::sync::Arc;

use api::ApiError;
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use super::forward::Target;
use crate::config::Config;
use crate::context::Context;

/// Port of a kubelet that does not say another.
const PORT: u16 = 10250;

/// TLS settings for connections to kubelets.
pub(crate) struct Kubelets {
    pub(crate) tls: Arc<ClientConfig>,
}

impl Kubelets {
    pub(crate) fn new(config: &Config) -> Result<Self, ApiError> {
        let bad = |what: &str, e: &dyn std::fmt::Display| ApiError::internal(format!("{what}: {e}"));
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(config.kubelet_ca.as_bytes()) {
            let certificate = certificate.map_err(|e| bad("kubelet CA", &e))?;
            roots.add(certificate).map_err(|e| bad("kubelet CA", &e))?;
        }
        let chain = CertificateDer::pem_slice_iter(config.kubelet_client.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| bad("kubelet client certificate", &e))?;
        let key = PrivateKeyDer::from_pem_slice(config.kubelet_client.key.as_bytes())
            .map_err(|e| bad("kubelet client key", &e))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| bad("TLS", &e))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|e| bad("kubelet client certificate", &e))?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: Arc::new(tls) })
    }
}

/// The door of a node's kubelet.
pub(crate) async fn target(context: &Context, node: &str, path: &str, query: &str) -> Result<Target, ApiError> {
    let object = context.server.own("", "nodes", "")?.current(node).await?.tree()?;
    let port = object.pointer("/status/daemonEndpoints/kubeletEndpoint/Port").and_then(Value::as_u64);
    let port = port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0).unwrap_or(PORT);
    let addresses = object.pointer("/status/addresses").and_then(Value::as_array);
    let of = |kind: &str| {
        addresses
            .into_iter()
            .flatten()
            .find(|a| a.get("type").is_some_and(|t| t == kind))
            .and_then(|a| a.get("address")?.as_str())
    };
    let address = of("InternalIP").or_else(|| of("Hostname"));
    let address = address.ok_or_else(|| {
        ApiError::unavailable(format!("no preferred addresses found; known addresses: [] of node {node}"))
    })?;
    Ok(Target::tls(address, port, path, query))
}
