//! The door: TLS, HTTP/1.1 and HTTP/2, connection limits.

use std::sync::Arc;
use std::time::Duration;

use api::ApiError;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::authn::{PeerCertificate, certificate};
use crate::config::Config;
use crate::handlers;
use crate::server::Server;

/// A client that does not finish its handshake or its headers in this time is cut off.
const HANDSHAKE: Duration = Duration::from_secs(10);

fn acceptor(config: &Config) -> Result<TlsAcceptor, ApiError> {
    let bad = |what: &str, e: &dyn std::fmt::Display| ApiError::internal(format!("{what}: {e}"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(config.client_ca.as_bytes()) {
        let certificate = certificate.map_err(|e| bad("client CA", &e))?;
        roots.add(certificate).map_err(|e| bad("client CA", &e))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|e| bad("client CA", &e))?;
    let chain = CertificateDer::pem_slice_iter(config.serving.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| bad("serving certificate", &e))?;
    let key = PrivateKeyDer::from_pem_slice(config.serving.key.as_bytes()).map_err(|e| bad("serving key", &e))?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| bad("TLS", &e))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|e| bad("serving certificate", &e))?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

/// Largest sum of header fields, the URL's included, as Go's server takes them.
const MAX_HEADERS: u32 = 1 << 20;

/// Accepts connections until the server stops, then lets those under way finish for a moment.
pub(crate) async fn serve(server: Arc<Server>, listener: TcpListener) -> Result<(), ApiError> {
    let acceptor = acceptor(&server.config)?;
    let places = Arc::new(Semaphore::new(server.config.max_connections));
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = server.stopping.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let tcp = match accepted {
            Ok((tcp, _)) => tcp,
            Err(error) => {
                // Out of file descriptors, most likely; a moment later some are free.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            tracing::warn!("too many connections, one was refused");
            continue;
        };
        let (server, acceptor) = (server.clone(), acceptor.clone());
        tasks.spawn(async move {
            connection(server, acceptor, tcp).await;
            drop(place);
        });
    }
    tasks.close();
    if tokio::time::timeout(Duration::from_secs(2), tasks.wait()).await.is_err() {
        tracing::debug!("connections were still open at the end");
    }
    Ok(())
}

async fn connection(server: Arc<Server>, acceptor: TlsAcceptor, tcp: TcpStream) {
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let tls = match tokio::time::timeout(HANDSHAKE, acceptor.accept(tcp)).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("TLS handshake took too long"),
    };
    let leaf = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let peer = PeerCertificate(leaf.and_then(|der| certificate::user(der)).map(Arc::new));
    let stopping = server.stopping.clone();
    let service = hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let server = server.clone();
        async move { Ok::<_, std::convert::Infallible>(handlers::handle(server, request).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(250).keep_alive_interval(Duration::from_secs(30));
    builder.http2().max_header_list_size(MAX_HEADERS);
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(tls), service);
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        result = serving.as_mut() => if let Err(error) = result {
            tracing::debug!(error = %error, "a connection ended badly");
        },
        () = stopping.cancelled() => {
            serving.as_mut().graceful_shutdown();
            if let Err(error) = serving.await {
                tracing::debug!(error = %error, "a connection ended badly");
            }
        }
    }
}
