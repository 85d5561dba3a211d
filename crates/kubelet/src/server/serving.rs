//! The certificate that the server shows; exchanged while it runs, when the cluster is asked for it.

use std::sync::Arc;
use std::time::Duration;

use client::certificate::{self, Certified, Renewal, Wanted};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::runtime::wait::await_condition;
use parking_lot::RwLock;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{ServerError, tls};
use crate::config::ServerTls;
use crate::context::Context;

/// The certificate, if there is one.
pub(super) struct Serving {
    files: ServerTls,
    shown: RwLock<Option<Arc<CertifiedKey>>>,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Serving({})", self.files.cert_file.display())
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.shown.read().clone()
    }
}

impl Serving {
    /// Reads the files; they may be missing where the cluster is to be asked.
    pub(super) fn open(files: &ServerTls) -> Result<Self, ServerError> {
        let shown = match tls::certified(files) {
            Ok(found) => Some(Arc::new(found)),
            Err(_) if files.bootstrap => None,
            Err(error) => return Err(error),
        };
        Ok(Self { files: files.clone(), shown: RwLock::new(shown) })
    }

    /// Asks for a certificate when there is none, and for the next one before it ends.
    pub(super) async fn keep(self: Arc<Self>, context: Arc<Context>) {
        if self.files.bootstrap {
            certificate::keep(&Kept { serving: self, wanted: wanted(&context), context }).await;
        }
    }

    async fn renew(&self, context: &Context, wanted: &Wanted) -> Result<(), String> {
        // The cluster signs for addresses that it knows.
        let api = Api::<Node>::all(context.client.clone());
        let knows = |node: Option<&Node>| node.is_some_and(|node| says(node, wanted));
        await_condition(api, &context.config.node_name, knows).await.map_err(|error| error.to_string())?;
        let certified = certificate::request(&context.client, wanted).await.map_err(|error| error.to_string())?;
        let files = self.files.clone();
        let saved = tokio::task::spawn_blocking(move || save(&files, &certified).map(|()| files));
        let files = saved.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let shown = tls::certified(&files).map_err(|error| error.to_string())?;
        *self.shown.write() = Some(Arc::new(shown));
        Ok(())
    }
}

/// The certificate of one node's server, kept good.
struct Kept {
    serving: Arc<Serving>,
    context: Arc<Context>,
    wanted: Wanted,
}

impl Renewal for Kept {
    const WHAT: &'static str = "the certificate of the kubelet's server";

    fn left(&self) -> Duration {
        let shown = self.serving.shown.read();
        let Some(leaf) = shown.as_ref().and_then(|shown| shown.cert.first()) else { return Duration::ZERO };
        match X509Certificate::from_der(leaf) {
            Ok((_, parsed)) if names(&parsed, &self.wanted) => certificate::left(leaf),
            _ => Duration::ZERO,
        }
    }

    async fn renew(&self) -> Result<(), String> {
        self.serving.renew(&self.context, &self.wanted).await
    }
}

/// A certificate for exactly what the Node says of its addresses.
fn wanted(context: &Context) -> Wanted {
    let addresses = context.host_ips.iter().filter_map(|ip| ip.parse().ok()).collect();
    Wanted::NodeServing { node: context.config.node_name.clone(), addresses }
}

/// Whether the Node says that it is where the certificate is to be shown.
fn says(node: &Node, wanted: &Wanted) -> bool {
    let Wanted::NodeServing { addresses, .. } = wanted else { return false };
    let told = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let told: Vec<_> = told.filter_map(|told| told.address.parse().ok()).collect();
    !told.is_empty() && addresses.iter().all(|address| told.contains(address))
}

/// Whether the certificate is good for the addresses.
fn names(leaf: &X509Certificate<'_>, wanted: &Wanted) -> bool {
    use x509_parser::prelude::GeneralName;
    let Wanted::NodeServing { addresses, .. } = wanted else { return false };
    let Ok(Some(served)) = leaf.subject_alternative_name() else { return false };
    let serves = |address: &std::net::IpAddr| {
        let bytes = match address {
            std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
            std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let mut names = served.value.general_names.iter();
        names.any(|name| matches!(name, GeneralName::IPAddress(there) if *there == bytes))
    };
    addresses.iter().all(serves)
}

/// Key first: a certificate that does not fit it is taken for none.
fn save(files: &ServerTls, certified: &Certified) -> std::io::Result<()> {
    sys::file::replace(&files.key_file, certified.key.as_bytes(), 0o600)?;
    sys::file::replace(&files.cert_file, certified.certificate.as_bytes(), 0o644)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_has_not_said_where_it_is_waits() {
        let wanted = Wanted::NodeServing { node: "n".into(), addresses: vec!["192.0.2.1".parse().unwrap()] };
        let node = |address: &str| -> Node {
            let addresses = serde_json::json!([{"type": "InternalIP", "address": address}]);
            serde_json::from_value(serde_json::json!({"metadata": {}, "status": {"addresses": addresses}})).unwrap()
        };
        assert!(says(&node("192.0.2.1"), &wanted));
        assert!(!says(&node("192.0.2.2"), &wanted) && !says(&Node::default(), &wanted));
    }
}
