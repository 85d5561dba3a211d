//! A client whose certificate is exchanged while it is used.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use kube::client::Body;
use tokio::sync::watch;
use tower::BoxError;
use x509_parser::pem::parse_x509_pem;

use crate::certificate;
use crate::connect::{self, ConnectError};

/// Clients that show the certificate of a kubeconfig, and its next one when that is there.
pub struct Rotating {
    path: PathBuf,
    shown: watch::Sender<Shown>,
}

struct Shown {
    client: kube::Client,
    /// DER.
    certificate: Option<Vec<u8>>,
}

impl Rotating {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be used.
    pub async fn from_kubeconfig(path: &Path) -> Result<Self, ConnectError> {
        Ok(Self { path: path.to_owned(), shown: watch::Sender::new(read(path).await?) })
    }

    /// A client. Requests under way end over the connection that they began on.
    pub fn client(&self) -> kube::Client {
        let shown = self.shown.subscribe();
        let service = tower::service_fn(move |request: Request<Body>| {
            let client = shown.borrow().client.clone();
            async move { client.send(request).await.map_err(BoxError::from) }
        });
        kube::Client::new(service, "default")
    }

    /// How long the certificate is good until it is to be renewed.
    pub fn left(&self) -> Duration {
        self.shown.borrow().certificate.as_deref().map(certificate::left).unwrap_or_default()
    }

    /// Whether the certificate is over.
    pub fn is_over(&self) -> bool {
        self.shown.borrow().certificate.as_deref().is_some_and(certificate::is_over)
    }

    /// Reads the file anew: new requests show what it says now.
    ///
    /// # Errors
    /// When it cannot be used; the old certificate stays.
    pub async fn reload(&self) -> Result<(), ConnectError> {
        self.shown.send_replace(read(&self.path).await?);
        Ok(())
    }
}

async fn read(path: &Path) -> Result<Shown, ConnectError> {
    let config = connect::read(path).await?;
    let data = config.auth_info.client_certificate_data.as_ref();
    let text = data.and_then(|data| STANDARD.decode(data).ok());
    let certificate = text.and_then(|text| parse_x509_pem(&text).ok().map(|(_, pem)| pem.contents));
    Ok(Shown { client: connect::build(config)?, certificate })
}
