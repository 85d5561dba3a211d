//! A request on its way to a backend, and the answer on its way back.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Method, Request, Response, StatusCode, Uri, Version, request};
use http_body::Body as _;
use http_body_util::{Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper_util::client::legacy::{self, Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::{Body, answer};
use crate::headers::{self, Peer};
use crate::table::{Backend, Table};

/// An endpoint that does not take a connection in this time is passed over.
const CONNECT: Duration = Duration::from_secs(5);
/// A backend begins to answer a request in this time.
const ANSWER: Duration = Duration::from_secs(300);
/// The same for requests with a body, which may take long to arrive.
const UPLOAD: Duration = Duration::from_secs(3600);
/// Connections to backends that nobody uses are kept for this long.
const IDLE: Duration = Duration::from_secs(30);
/// How many are kept for each endpoint.
const KEPT: usize = 32;
/// Endpoints that are tried for one request.
const ATTEMPTS: usize = 3;
/// Header fields of an answer, together.
const MAX_HEADERS: usize = 256 << 10;

type Outgoing = Either<Incoming, Empty<Bytes>>;

/// Connections to backends.
pub(crate) struct Forwarder {
    plain: Client<HttpConnector, Outgoing>,
    h2c: Client<HttpConnector, Outgoing>,
    /// Connections that became something else, as WebSockets do.
    tunnels: TaskTracker,
    stopping: CancellationToken,
}

/// The place that a connection has; a tunnel goes on holding it.
pub(crate) type Place = Arc<OwnedSemaphorePermit>;

impl Forwarder {
    pub(crate) fn new(tunnels: TaskTracker, stopping: CancellationToken) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.timer(TokioTimer::new()).pool_timer(TokioTimer::new());
        builder.pool_idle_timeout(IDLE).pool_max_idle_per_host(KEPT).http1_max_buf_size(MAX_HEADERS);
        let plain = builder.build(connector.clone());
        Self { plain, h2c: builder.http2_only(true).build(connector), tunnels, stopping }
    }

    /// Answers one request.
    pub(crate) async fn handle(
        &self,
        mut request: Request<Incoming>,
        peer: Peer,
        table: Arc<Table>,
        place: Place,
    ) -> Response<Body> {
        if request.method() == Method::CONNECT {
            return answer(StatusCode::METHOD_NOT_ALLOWED, "the gateway is no proxy to elsewhere");
        }
        let Some((given, host)) = headers::host(&request).and_then(|h| Some((h.to_owned(), headers::bare(h)?))) else {
            return answer(StatusCode::BAD_REQUEST, "the request names no host");
        };
        let path = request.uri().path();
        let Some(backend) = table.route(&host, path).cloned() else {
            let why = format!("no Ingress has a rule for host {host} and path {path}, and there is no default backend");
            return answer(StatusCode::NOT_FOUND, &why);
        };
        drop(table);
        let upgrade = headers::upgrade(&request).map(|protocol| (protocol, hyper::upgrade::on(&mut request)));
        headers::outgoing(request.headers_mut(), peer, &given, upgrade.as_ref().map(|(protocol, _)| protocol));
        let mut response = match self.ask(request, peer, &backend).await {
            Ok(response) => response,
            Err(refusal) => return *refusal,
        };
        let becomes = response.headers().get(UPGRADE).cloned();
        headers::strip(response.headers_mut());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let (Some((_, client)), Some(protocol)) = (upgrade, becomes) else {
                return answer(StatusCode::BAD_GATEWAY, &format!("{} switched to nothing asked for", backend.name));
            };
            self.tunnel(client, hyper::upgrade::on(&mut response), place);
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
            response.headers_mut().insert(UPGRADE, protocol);
        }
        *response.version_mut() = Version::default();
        response.map(Either::Left)
    }

    /// Puts the request to the endpoints in turn. One with a body cannot be put twice.
    async fn ask(
        &self,
        request: Request<Incoming>,
        peer: Peer,
        backend: &Backend,
    ) -> Result<Response<Incoming>, Box<Response<Body>>> {
        let refuse = |status, why: &str| Box::new(answer(status, why));
        let (parts, body) = request.into_parts();
        let is_empty = body.is_end_stream();
        let patience = if is_empty { ANSWER } else { UPLOAD };
        let attempts = if is_empty { ATTEMPTS } else { 1 };
        let mut body = Some(body);
        let mut failure = None;
        for endpoint in backend.endpoints(peer.address).take(attempts) {
            let body = body.take().filter(|_| !is_empty).map_or_else(|| Either::Right(Empty::new()), Either::Left);
            let Some(request) = directed(&parts, endpoint, body) else {
                return Err(refuse(StatusCode::BAD_REQUEST, "the request's target cannot be passed on"));
            };
            let client = if backend.h2c { &self.h2c } else { &self.plain };
            match timeout(patience, client.request(request)).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => {
                    tracing::debug!(backend = backend.name, %endpoint, cause = cause(&error), "no answer");
                    let is_over = !error.is_connect();
                    failure = Some(error);
                    if is_over {
                        break;
                    }
                }
                Err(_) => {
                    let why = format!("{} did not answer in {} seconds", backend.name, patience.as_secs());
                    return Err(refuse(StatusCode::GATEWAY_TIMEOUT, &why));
                }
            }
        }
        Err(match failure {
            Some(error) => refuse(StatusCode::BAD_GATEWAY, &lament(backend, &error)),
            None => refuse(StatusCode::SERVICE_UNAVAILABLE, &backend.why_empty()),
        })
    }

    /// Carries bytes both ways until one side ends.
    fn tunnel(&self, client: OnUpgrade, backend: OnUpgrade, place: Place) {
        let stopping = self.stopping.clone();
        self.tunnels.spawn(async move {
            let carry = async {
                let (client, backend) = tokio::try_join!(client, backend)?;
                let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
                let carried = tokio::io::copy_bidirectional(&mut client, &mut backend).await;
                carried.map(drop).map_err(Into::<Box<dyn Error + Send + Sync>>::into)
            };
            tokio::select! {
                carried = carry => if let Err(error) = carried {
                    tracing::debug!(%error, "an upgraded connection ended badly");
                },
                () = stopping.cancelled() => {}
            }
            drop(place);
        });
    }
}

/// The request as one endpoint gets it.
fn directed(parts: &request::Parts, endpoint: SocketAddr, body: Outgoing) -> Option<Request<Outgoing>> {
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let uri = Uri::builder().scheme("http").authority(endpoint.to_string()).path_and_query(target).build().ok()?;
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = uri;
    request.headers_mut().clone_from(&parts.headers);
    Some(request)
}

fn lament(backend: &Backend, error: &legacy::Error) -> String {
    let what = if error.is_connect() { "cannot be reached" } else { "broke off" };
    format!("{} {what}: {}", backend.name, cause(error))
}

/// The innermost error says it best.
fn cause(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
