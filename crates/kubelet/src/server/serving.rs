//! The certificate that the server shows; exchanged while it runs, when the cluster is asked for it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use client::certificate::{self, Certified, Wanted};
use jiff::Timestamp;
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

/// A request that nobody answers for so long is asked anew.
const ANSWER: Duration = Duration::from_secs(300);
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

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
        if !self.files.bootstrap {
            return;
        }
        let mut pause = RETRY.0;
        loop {
            let wanted = wanted(&context);
            tokio::time::sleep(self.good_for(&wanted)).await;
            match tokio::time::timeout(ANSWER, self.renew(&context, &wanted)).await {
                Ok(Ok(())) => {
                    pause = RETRY.0;
                    continue;
                }
                Ok(Err(error)) => tracing::warn!(error, "no serving certificate"),
                Err(_) => tracing::warn!("nobody approves the kubelet's serving certificate"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY.1);
        }
    }

    /// How long the certificate that is shown does what is wanted.
    fn good_for(&self, wanted: &Wanted) -> Duration {
        let shown = self.shown.read();
        let Some(leaf) = shown.as_ref().and_then(|shown| shown.cert.first()) else { return Duration::ZERO };
        let Ok((_, leaf)) = X509Certificate::from_der(leaf) else { return Duration::ZERO };
        if !names(&leaf, wanted) {
            return Duration::ZERO;
        }
        let (from, to) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
        left(from, to, Timestamp::now().as_second())
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
        tracing::info!("the kubelet's server has a new certificate");
        Ok(())
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

/// What is left until four fifths of the time are over; seconds since the epoch.
fn left(from: i64, to: i64, now: i64) -> Duration {
    let renew = from.saturating_add(to.saturating_sub(from).max(0) / 5 * 4);
    Duration::from_secs(u64::try_from(renew.saturating_sub(now)).unwrap_or_default())
}

/// Key first: a certificate that does not fit it is taken for none.
fn save(files: &ServerTls, certified: &Certified) -> std::io::Result<()> {
    write(&files.key_file, &certified.key, 0o600)?;
    write(&files.cert_file, &certified.certificate, 0o644)
}

fn write(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_when_a_fifth_is_left() {
        assert_eq!(left(1000, 2000, 1000), Duration::from_secs(800));
        assert_eq!(left(1000, 2000, 1900), Duration::ZERO);
        assert_eq!(left(2000, 1000, 1500), Duration::from_secs(500));
    }

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
