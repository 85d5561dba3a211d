//! The API server: the only door to the state of the cluster.
//!
//! A request goes through [`serve`] (TLS), authentication, authorization, and the generic [`registry`], with admission on
//! the way. Knows the store, the catalogue and schemas; knows no controller, scheduler or kubelet: they are clients.

mod admission;
mod audit;
mod authn;
mod authz;
mod body;
mod bootstrap;
mod compress;
mod config;
mod context;
mod discovery;
mod foreign;
#[doc(hidden)]
pub mod fuzzing;
mod handlers;
mod health;
mod kind;
mod masters;
mod metrics;
mod negotiate;
mod openapi;
mod registry;
mod request;
mod rest;
mod serve;
mod server;
mod stream;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll};

use api::ApiError;
use http::{Request, Response};
use storage::Store;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use body::{Body, BoxError};
pub use config::{Config, KeyPair};
pub use context::User;
pub use foreign::decode_stored;

use server::Server;

/// An API server, ready to run.
pub struct ApiServer {
    server: Arc<Server>,
}

impl ApiServer {
    /// Puts the parts together. Nothing is served yet, but [`ApiServer::client`] works. Needs a tokio runtime.
    ///
    /// # Errors
    /// When a certificate or key of the configuration cannot be used.
    pub fn build(config: Config, store: Arc<dyn Store>) -> Result<Self, ApiError> {
        let server = Server {
            kinds: kind::Kinds::builtin(),
            rbac: authz::rbac::Rbac::new(),
            tokens: authn::tokens::Tokens::new(&config.token_key, &config.token_public_key, &config.issuer)?,
            suspects: rest::service::repair::Suspects::default(),
            documents: openapi::Documents::default(),
            kubelets: stream::kubelet::Kubelets::new(&config)?,
            metrics: metrics::Metrics::default(),
            figures: rest::figures::Figures::default(),
            audit: audit::Audit::to(config.audit_log.as_deref())?,
            reads: Semaphore::new(config.max_reads),
            writes: Semaphore::new(config.max_writes),
            bootstrapped: AtomicBool::new(false),
            stopping: CancellationToken::new(),
            store,
            config,
        };
        Ok(Self { server: Arc::new(server) })
    }

    /// A client in this process: no sockets, but the same authorization and admission, as this user.
    pub fn client(&self, user: User) -> kube::Client {
        client::connect::local(Local { server: self.server.clone() }, authn::LocalIdentity(user))
    }

    /// Makes the objects of the first start, and repairs those that later starts find changed.
    ///
    /// # Errors
    /// When the store does not take them.
    pub async fn bootstrap(&self) -> Result<(), ApiError> {
        bootstrap::run(&self.server).await?;
        self.server.bootstrapped.store(true, Ordering::Release);
        Ok(())
    }

    /// Serves until `shutdown`.
    ///
    /// # Errors
    /// When certificates cannot be used.
    pub async fn run(&self, listener: TcpListener, shutdown: CancellationToken) -> Result<(), ApiError> {
        let server = self.server.clone();
        let stop = async {
            shutdown.cancelled().await;
            server.stopping.cancel();
            // Never first: serving ends by the token.
            std::future::pending::<()>().await;
        };
        let serving = async {
            let served = tokio::select! {
                result = serve::serve(self.server.clone(), listener) => result,
                () = stop => Ok(()),
            };
            self.server.stopping.cancel();
            served
        };
        let (served, (), ()) =
            tokio::join!(serving, masters::keep(self.server.clone()), rest::service::repair::keep(self.server.clone()));
        served
    }
}

/// The in-process transport.
#[derive(Clone)]
struct Local {
    server: Arc<Server>,
}

impl tower::Service<Request<kube::client::Body>> for Local {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        let server = self.server.clone();
        Box::pin(async move { Ok(handlers::handle(server, request).await) })
    }
}
