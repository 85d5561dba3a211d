//! The other side of [`crate::Remote`]: any engine, offered to others on a gRPC socket.
//!
//! `crictl` and upstream's kubelet speak to it as to containerd. Sessions go over a small HTTP server of its own.

mod images;
mod runtime;
mod sessions;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};

use crate::v1::image_service_server::ImageServiceServer;
use crate::v1::runtime_service_server::RuntimeServiceServer;
use crate::{CriError, Engine};
use sessions::Sessions;

/// As large as what a client takes.
const MAX_MESSAGE: usize = 16 << 20;

/// Why an engine cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket cannot be listened on.
    #[error("cannot listen on {socket}: {source}")]
    Listen {
        /// Which.
        socket: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The gRPC server broke.
    #[error("the CRI server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

#[derive(Clone)]
struct Service {
    engine: Arc<dyn Engine>,
    sessions: Arc<Sessions>,
}

type Answer<T> = Result<Response<T>, Status>;

/// An engine's answer as gRPC's.
fn answer<T>(result: Result<T, CriError>) -> Answer<T> {
    result.map(Response::new).map_err(Status::from)
}

/// Offers an engine on a socket that only its owner can open, until `shutdown`.
pub async fn serve(engine: Arc<dyn Engine>, socket: &Path, shutdown: CancellationToken) -> Result<(), ServeError> {
    let failed = |source| ServeError::Listen { socket: socket.display().to_string(), source };
    let listener = listen(socket).map_err(failed)?;
    let streaming = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.map_err(failed)?;
    let sessions = Arc::new(Sessions::new(engine.clone(), streaming.local_addr().map_err(failed)?));
    let service = Service { engine, sessions: sessions.clone() };
    let runtime = RuntimeServiceServer::new(service.clone());
    let images = ImageServiceServer::new(service);
    let stop = shutdown.clone();
    let grpc = tonic::transport::Server::builder()
        .add_service(runtime.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
        .add_service(images.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), async move { stop.cancelled().await });
    let (served, ()) = tokio::join!(grpc, sessions.run(streaming, shutdown));
    match std::fs::remove_file(socket) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => tracing::warn!(error = %e, "the socket is left"),
        _ => {}
    }
    Ok(served?)
}

fn listen(socket: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
