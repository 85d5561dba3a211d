//! The ports of a gateway: connections in, bounded in number and time.

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::forward::{Forwarder, Place};
use crate::headers::Peer;
use crate::table::Table;

/// Connections at once, at all ports.
pub(crate) const CONNECTIONS: usize = 4096;
/// A client that does not finish its handshake or the headers of its next request in this time is cut off.
const PATIENCE: Duration = Duration::from_secs(30);
/// A connection is asked after so much silence whether it is alive, and has as long to say so.
const ALIVE: Duration = Duration::from_secs(30);
/// Requests at once on one connection of HTTP/2.
const STREAMS: u32 = 100;
/// Header fields of a request, together.
const MAX_HEADERS: usize = 64 << 10;

/// What all connections share.
pub(crate) struct Hall {
    pub table: watch::Receiver<Arc<Table>>,
    pub forwarder: Forwarder,
    pub places: Arc<Semaphore>,
    pub connections: TaskTracker,
    pub stopping: CancellationToken,
}

/// An open port.
pub(crate) struct Door {
    pub port: u16,
    accepting: JoinHandle<()>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Door {
    /// Takes the port; connections are served from now on, and as long as the door is held new ones are taken.
    pub(crate) async fn open(address: SocketAddr, tls: Option<TlsAcceptor>, hall: Arc<Hall>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let port = listener.local_addr()?.port();
        Ok(Self { port, accepting: tokio::spawn(accept(listener, port, tls, hall)) })
    }

    /// Whether connections are still taken.
    pub(crate) fn is_open(&self) -> bool {
        !self.accepting.is_finished()
    }
}

async fn accept(listener: TcpListener, port: u16, tls: Option<TlsAcceptor>, hall: Arc<Hall>) {
    loop {
        let (tcp, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely; a moment later some are free.
                tracing::warn!(port, %error, "a connection could not be accepted");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(place) = hall.places.clone().try_acquire_owned() else {
            tracing::warn!(port, "too many connections, one was refused");
            continue;
        };
        let peer = Peer { address: client.ip().to_canonical(), is_tls: tls.is_some(), port };
        let (tls, own) = (tls.clone(), hall.clone());
        hall.connections.spawn(async move { connection(tcp, tls, peer, own, Arc::new(place)).await });
    }
}

async fn connection(tcp: TcpStream, tls: Option<TlsAcceptor>, peer: Peer, hall: Arc<Hall>, place: Place) {
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    // Clients that are gone are noticed, even behind a WebSocket that nobody speaks on.
    if let Err(error) = setsockopt(&tcp, sockopt::KeepAlive, &true) {
        tracing::debug!(%error, "SO_KEEPALIVE");
    }
    let Some(acceptor) = tls else { return serve(tcp, peer, hall, place).await };
    match timeout(PATIENCE, acceptor.accept(tcp)).await {
        Ok(Ok(stream)) => serve(stream, peer, hall, place).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake took too long"),
    }
}

async fn serve<S>(stream: S, peer: Peer, hall: Arc<Hall>, place: Place)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let spoke = Arc::new(AtomicBool::new(false));
    let (own, has_spoken) = (hall.clone(), spoke.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        has_spoken.store(true, Ordering::Relaxed);
        let (hall, place) = (own.clone(), place.clone());
        async move {
            let table = hall.table.borrow().clone();
            Ok::<_, Infallible>(hall.forwarder.handle(request, peer, table, place).await)
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(MAX_HEADERS);
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new()).max_concurrent_streams(STREAMS).max_send_buf_size(MAX_HEADERS);
    http2.max_header_list_size(u32::try_from(MAX_HEADERS).unwrap_or(u32::MAX));
    http2.keep_alive_interval(ALIVE).keep_alive_timeout(ALIVE);
    let mut serving = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let silent = async {
        sleep(PATIENCE).await;
        if spoke.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = silent => return tracing::debug!("a client asked nothing"),
        () = hall.stopping.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended badly");
    }
}
