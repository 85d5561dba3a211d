//! A small client of the API: keep-alive connections, JSON bodies, watches.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::failure::Failure;

/// No measured request takes longer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Where the API is and how to prove who asks.
#[derive(Clone)]
pub(crate) struct Api {
    address: String,
    host: ServerName<'static>,
    tls: TlsConnector,
}

impl Api {
    /// From the administrator's kubeconfig, whose lines are `key: value`.
    pub(crate) fn from_kubeconfig(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)?;
        let field = |name: &str| {
            let line = text.lines().find_map(|l| l.trim().strip_prefix(name)?.strip_prefix(": "));
            line.map(|v| v.trim_matches('"')).ok_or_else(|| format!("no {name} in {}", path.display()))
        };
        let pem = |name: &str| STANDARD.decode(field(name)?).map_err(|e| e.to_string());
        let wrong = |e: rustls_pki_types::pem::Error| e.to_string();
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem("certificate-authority-data")?) {
            roots.add(certificate.map_err(wrong)?)?;
        }
        let chain = CertificateDer::pem_slice_iter(&pem("client-certificate-data")?).collect::<Result<Vec<_>, _>>();
        let key = PrivateKeyDer::from_pem_slice(&pem("client-key-data")?).map_err(wrong)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = config.with_root_certificates(roots).with_client_auth_cert(chain.map_err(wrong)?, key)?;
        let address = field("server")?.trim_start_matches("https://");
        let host = ServerName::try_from("localhost").map_err(|e| e.to_string())?;
        Self { address: String::new(), host, tls: TlsConnector::from(Arc::new(config)) }.at(address)
    }

    /// The same at another address, `host:port`.
    pub(crate) fn at(&self, address: &str) -> Result<Self, Failure> {
        let name = address.rsplit_once(':').map_or(address, |(name, _)| name).to_owned();
        let host = ServerName::try_from(name).map_err(|e| e.to_string())?;
        Ok(Self { address: address.to_owned(), host, tls: self.tls.clone() })
    }

    /// A connection of its own.
    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let stream = self.tls.connect(self.host.clone(), stream).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Ends when the sender is dropped; an error shows at the sender too.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Connection { sender, host: self.address.clone() })
    }

    /// A GET on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        let answer = self.connect().await?.call(Method::GET, path, Bytes::new()).await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    /// One change on a connection of its own.
    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Value, Failure> {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(serde_json::to_vec(body)?) };
        let answer = self.connect().await?.call(method, path, body).await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    /// Watches from now on, after an event for each object that is there.
    pub(crate) async fn watch(&self, path: &str) -> Result<Watch, Failure> {
        let mark = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{mark}watch=1");
        let mut connection = self.connect().await?;
        let response = connection.send(Method::GET, &path, Bytes::new()).await?;
        if response.status() != StatusCode::OK {
            let request = format!("watch {path}");
            return Err(Failure::Answer { request, status: response.status().as_u16(), body: String::new() });
        }
        Ok(Watch { body: response.into_body(), buffer: BytesMut::new(), _connection: connection })
    }
}

/// A keep-alive connection.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Connection {
    /// A request, its answer read whole; fails unless it is a success.
    pub(crate) async fn call(&mut self, method: Method, path: &str, body: Bytes) -> Result<Bytes, Failure> {
        let request = format!("{method} {path}");
        let whole = async {
            let response = self.send(method, path, body).await?;
            let status = response.status();
            Ok::<_, Failure>((status, response.into_body().collect().await?.to_bytes()))
        };
        let late = |_| Failure::Late(request.clone());
        let (status, body) = tokio::time::timeout(TIMEOUT, whole).await.map_err(late)??;
        if status.is_success() {
            return Ok(body);
        }
        Err(Failure::Answer { request, status: status.as_u16(), body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// A GET whose body is only counted.
    pub(crate) async fn count(&mut self, path: &str) -> Result<usize, Failure> {
        let mut body = self.send(Method::GET, path, Bytes::new()).await?.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(bytes)
    }

    async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, Failure> {
        let kind = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let request = Request::builder().method(method).uri(path).header("host", &self.host);
        let request = request.header("content-type", kind).body(Full::new(body)).map_err(|e| e.to_string())?;
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }
}

/// A running watch.
pub(crate) struct Watch {
    body: Incoming,
    buffer: BytesMut,
    _connection: Connection,
}

impl Watch {
    /// The first event that `wanted` says yes to.
    pub(crate) async fn until(&mut self, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Result<(), Failure> {
        let search = async {
            loop {
                let event = self.next().await?;
                if wanted(&event) {
                    return Ok(());
                }
            }
        };
        tokio::time::timeout(TIMEOUT, search).await.map_err(|_| Failure::Late(what.to_owned()))?
    }

    async fn next(&mut self) -> Result<Value, Failure> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                return Ok(serde_json::from_slice(&self.buffer.split_to(end + 1))?);
            }
            match self.body.frame().await {
                Some(frame) => self.buffer.extend_from_slice(frame?.data_ref().unwrap_or(&Bytes::new())),
                None => return Err(Failure::Other("the watch ended".into())),
            }
        }
    }
}
