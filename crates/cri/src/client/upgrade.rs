//! A streaming URL of an engine becomes a connection that carries streams.

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::CriError;

/// What a refusal says is read up to here.
const MAX_WORDS: usize = 64 << 10;

/// Opens the URL and upgrades to SPDY; `protocol` is the one of the streams.
pub(super) async fn open(url: &str, protocol: &str) -> Result<spdy::Connection, CriError> {
    let broken = |what: &str, e: &dyn std::error::Error| CriError::Unavailable(format!("{url}: {what}: {e}"));
    let uri: Uri = url.parse().map_err(|e: http::uri::InvalidUri| broken("is no URL", &e))?;
    let host = uri.host().ok_or_else(|| CriError::Internal(format!("{url} names no host")))?;
    let port = uri.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await;
    let stream = stream.map_err(|e| broken("cannot connect", &e))?;
    stream.set_nodelay(true).map_err(|e| broken("cannot connect", &e))?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|e| broken("no HTTP", &e))?;
    // Ends with the connection, which the streams hold.
    let carried = tokio::spawn(connection.with_upgrades());
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::HOST, format!("{host}:{port}"))
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "SPDY/3.1")
        .header("X-Stream-Protocol-Version", protocol)
        .body(Empty::<Bytes>::new())
        .map_err(|e| broken("cannot be asked", &e))?;
    let response = sender.send_request(request).await.map_err(|e| broken("no answer", &e))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        carried.abort();
        return Err(refusal(response).await);
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(|e| broken("no upgrade", &e))?;
    Ok(spdy::Connection::new(TokioIo::new(upgraded), spdy::Role::Client))
}

async fn refusal(response: http::Response<hyper::body::Incoming>) -> CriError {
    let status = response.status();
    let words = Limited::new(response.into_body(), MAX_WORDS).collect().await;
    let words = words.map(|body| String::from_utf8_lossy(&body.to_bytes()).trim().to_owned()).unwrap_or_default();
    CriError::Internal(if words.is_empty() { format!("the engine answered {status}") } else { words })
}
