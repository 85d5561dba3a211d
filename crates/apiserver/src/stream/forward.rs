//! Passing a request on, and upgraded connections byte by byte.

use std::time::Duration;

use api::ApiError;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::body::{self, Answer, Body, BoxError};
use crate::handlers::Incoming;
use crate::server::Server;

const CONNECT: Duration = Duration::from_secs(10);

/// Where a request goes.
pub(crate) struct Target {
    address: String,
    port: u16,
    path: String,
    tls: bool,
}

impl Target {
    pub(crate) fn tls(address: &str, port: u16, path: &str, query: &str) -> Self {
        Self { address: address.into(), port, path: with_query(path, query), tls: true }
    }

    pub(crate) fn plain(address: &str, port: u16, path: &str, query: &str) -> Self {
        let path = if path.is_empty() { "/" } else { path };
        Self { address: address.into(), port, path: with_query(path, query), tls: false }
    }
}

fn with_query(path: &str, query: &str) -> String {
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Sends the request to the target and its answer back.
pub(crate) async fn forward<B>(server: &Server, target: Target, incoming: Incoming<B>) -> Result<Answer, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let unreachable = |why: &dyn std::fmt::Display| {
        ApiError::unavailable(format!(
            "error trying to reach service: dial tcp {}:{}: {why}",
            target.address, target.port
        ))
    };
    let wire = match tokio::time::timeout(CONNECT, connect(server, &target)).await {
        Ok(Ok(wire)) => wire,
        Ok(Err(error)) => return Err(unreachable(&error)),
        Err(_) => return Err(unreachable(&"i/o timeout")),
    };
    let upgrade = upgrade_of(&incoming.headers).is_some();
    let mut request = Request::builder().method(incoming.method.clone()).uri(&target.path);
    if let Some(headers) = request.headers_mut() {
        copy_headers(&incoming.headers, headers, upgrade);
        let host = format!("{}:{}", target.address, target.port);
        headers.insert(header::HOST, host.parse().map_err(ApiError::internal)?);
    }
    let bytes = if upgrade { Bytes::new() } else { body::read(incoming.body).await? };
    let request = request.body(body::full(bytes)).map_err(ApiError::internal)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(wire)).await.map_err(|e| unreachable(&e))?;
    let stop = server.stopping.clone();
    tokio::spawn(async move {
        tokio::select! {
            result = connection.with_upgrades() => if let Err(error) = result {
                tracing::debug!(%error, "a forwarded connection ended");
            },
            () = stop.cancelled() => {}
        }
    });
    let response = sender.send_request(request).await.map_err(|e| unreachable(&e))?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(switch(server, response, incoming.upgrade));
    }
    let (mut parts, body) = response.into_parts();
    for hop in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE] {
        parts.headers.remove(hop);
    }
    // The sender must live as long as the body.
    let body = body.map_err(BoxError::from).map_frame(move |f| {
        let _alive = &sender;
        f
    });
    Ok(Answer::from_parts(parts, body.boxed_unsync()))
}

async fn connect(server: &Server, target: &Target) -> Result<Box<dyn Wire>, BoxError> {
    let tcp = TcpStream::connect((target.address.as_str(), target.port)).await?;
    tcp.set_nodelay(true)?;
    if !target.tls {
        return Ok(Box::new(tcp));
    }
    let connector = tokio_rustls::TlsConnector::from(server.kubelets.tls.clone());
    let name = ServerName::try_from(target.address.clone())?;
    Ok(Box::new(connector.connect(name, tcp).await?))
}

fn upgrade_of(headers: &HeaderMap) -> Option<&str> {
    let connection = headers.get(header::CONNECTION)?.to_str().ok()?;
    connection.to_ascii_lowercase().contains("upgrade").then_some(())?;
    headers.get(header::UPGRADE)?.to_str().ok()
}

/// Headers travel on, except those of this hop and the caller's credentials.
fn copy_headers(from: &HeaderMap, to: &mut HeaderMap, upgrade: bool) {
    const OWN: [HeaderName; 6] = [
        header::HOST,
        header::AUTHORIZATION,
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
        header::TE,
        header::TRAILER,
    ];
    for (name, value) in from {
        let hop = matches!(*name, header::CONNECTION | header::UPGRADE);
        let identity = name.as_str().starts_with("impersonate-");
        if !OWN.contains(name) && !identity && (!hop || upgrade) {
            to.append(name, value.clone());
        }
    }
}

/// Joins both upgraded connections.
fn switch(
    server: &Server,
    mut response: http::Response<hyper::body::Incoming>,
    client: Option<hyper::upgrade::OnUpgrade>,
) -> Answer {
    let upstream = hyper::upgrade::on(&mut response);
    let (parts, _) = response.into_parts();
    let stop = server.stopping.clone();
    if let Some(client) = client {
        tokio::spawn(async move {
            let joined = async {
                let (client, upstream) = tokio::try_join!(client, upstream)?;
                let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
                tokio::io::copy_bidirectional(&mut client, &mut upstream).await?;
                Ok::<_, BoxError>(())
            };
            tokio::select! {
                result = joined => if let Err(error) = result {
                    tracing::debug!(%error, "a forwarded stream ended");
                },
                () = stop.cancelled() => {}
            }
        });
    }
    let empty: Body = body::full(Bytes::new());
    Answer::from_parts(parts, empty)
}
