//! The kubelet's server: logs, exec, attach, port-forward, figures; over TLS, for those whom the API server lets.

mod answer;
mod auth;
mod figures;
mod files;
mod logs;
mod portforward;
mod route;
mod serving;
mod session;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, ServerTls};
use crate::context::Context;
use crate::pods::Pods;
use answer::{Answer, Refusal};
use auth::{Auth, Peer};
pub(crate) use files::last_lines;
use route::Route;
use serving::Serving;

/// Connections at once.
const CONNECTIONS: usize = 1024;
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The port is taken, or may not be used.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A certificate or key cannot be read.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Certificate and key do not work.
    #[error("certificate and key cannot be used")]
    Tls(#[source] rustls::Error),
    /// The client CA does not work.
    #[error("the client CA cannot be used: {0}")]
    ClientCa(String),
}

pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: TlsAcceptor,
    serving: Arc<Serving>,
}

/// What answers requests.
pub(crate) struct Service {
    pub(crate) context: Arc<Context>,
    pub(crate) pods: Arc<Pods>,
    auth: Auth,
    /// Sessions outlive the request that began them.
    pub(crate) sessions: TaskTracker,
    pub(crate) shutdown: CancellationToken,
    rates: figures::Rates,
}

impl Server {
    pub(crate) async fn bind(config: &Config, files: &ServerTls) -> Result<Self, ServerError> {
        let serving = Arc::new(Serving::open(files)?);
        let tls = TlsAcceptor::from(tls::config(files, Arc::clone(&serving))?);
        let listen = |source| ServerError::Listen { address: config.address, source };
        let listener = TcpListener::bind(config.address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self { listener, address, tls, serving })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Keeps its certificate good, where that is asked for.
    pub(crate) fn keep_certified(&self, context: Arc<Context>) -> impl Future<Output = ()> + use<> {
        Arc::clone(&self.serving).keep(context)
    }

    pub(crate) async fn run(self, context: Arc<Context>, pods: Arc<Pods>, shutdown: CancellationToken) {
        let auth = Auth::new(context.client.clone(), context.config.node_name.clone());
        let sessions = TaskTracker::new();
        let (rates, stop) = (figures::Rates::default(), shutdown.clone());
        let service = Service { context, pods, auth, sessions: sessions.clone(), shutdown: stop, rates };
        let service = Arc::new(service);
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let connections = TaskTracker::new();
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (tls, service, shutdown) = (self.tls.clone(), Arc::clone(&service), shutdown.clone());
            connections.spawn(async move {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = serve(stream, tls, service) => {}
                }
                drop(slot);
            });
        }
        connections.close();
        sessions.close();
        connections.wait().await;
        sessions.wait().await;
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, service: Arc<Service>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY not set");
    }
    let stream = match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("TLS handshake took too long"),
    };
    let peer = Arc::new(Peer::of(stream.get_ref().1));
    let answer = hyper::service::service_fn(move |request| {
        let (service, peer) = (Arc::clone(&service), Arc::clone(&peer));
        async move { Ok::<_, std::convert::Infallible>(service.answer(request, &peer).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(hyper_util::rt::TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
    if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(stream), answer).await {
        tracing::debug!(error, "connection ended");
    }
}

impl Service {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: &Peer) -> Response<answer::Body> {
        match self.try_answer(request, peer).await {
            Ok(answer) => answer,
            Err(refusal) => refusal.into_answer(),
        }
    }

    async fn try_answer(self: Arc<Self>, request: Request<Incoming>, peer: &Peer) -> Result<Answer, Refusal> {
        let route = Route::parse(request.uri().path());
        let user = self.auth.authenticate(peer, request.headers()).await?;
        self.auth.authorize(&user, request.method(), request.uri().path(), &route).await?;
        let is_read = request.method() == Method::GET || request.method() == Method::HEAD;
        match route {
            Route::Healthz => Ok(answer::text(StatusCode::OK, "ok")),
            Route::Pods if is_read => figures::pods(&self),
            Route::Metrics if is_read => figures::metrics(&self).await,
            Route::ResourceMetrics if is_read => figures::resource(&self).await,
            Route::CadvisorMetrics if is_read => figures::cadvisor(&self).await,
            Route::Summary if is_read => figures::summary(&self).await,
            Route::Configz if is_read => figures::configz(&self),
            Route::NodeLogs => Err(Refusal::new(StatusCode::NOT_FOUND, "node logs are not served yet")),
            Route::ContainerLogs(target) if is_read => logs::serve(&self, &target, request.uri()).await,
            Route::Exec(target) => session::exec(self, &target, request).await,
            Route::Attach(target) => session::attach(self, &target, request).await,
            Route::PortForward(target) => portforward::serve(self, &target, request).await,
            Route::Unknown => Err(Refusal::new(StatusCode::NOT_FOUND, "404 page not found")),
            _ => Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed")),
        }
    }
}
