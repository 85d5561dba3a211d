//! Sessions of the engine over HTTP: each is asked for by gRPC, which answers a URL that is good once and for a short time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::v1::{AttachRequest, ExecRequest, PortForwardRequest};
use crate::{CriError, Engine, StdioRequest, carry};

/// A URL is used at once, or not at all.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// Sessions that are asked for but not begun.
const MAX_WAITING: usize = 1000;

/// What a URL stands for.
enum Wanted {
    Command { id: String, what: carry::What, stdio: StdioRequest },
    PortForward { sandbox: String },
}

pub(super) struct Sessions {
    engine: Arc<dyn Engine>,
    address: SocketAddr,
    waiting: std::sync::Mutex<HashMap<String, (Instant, Wanted)>>,
    work: TaskTracker,
}

impl Sessions {
    pub(super) fn new(engine: Arc<dyn Engine>, address: SocketAddr) -> Self {
        Self { engine, address, waiting: std::sync::Mutex::default(), work: TaskTracker::new() }
    }

    pub(super) fn exec(&self, request: ExecRequest) -> Result<String, CriError> {
        let ExecRequest { container_id: id, cmd, tty, stdin, stdout, stderr } = request;
        let stdio = StdioRequest { stdin, stdout, stderr, tty };
        self.promise("exec", Wanted::Command { id, what: carry::What::Exec(cmd), stdio })
    }

    pub(super) fn attach(&self, request: AttachRequest) -> Result<String, CriError> {
        let AttachRequest { container_id: id, stdin, tty, stdout, stderr } = request;
        let stdio = StdioRequest { stdin, stdout, stderr, tty };
        self.promise("attach", Wanted::Command { id, what: carry::What::Attach, stdio })
    }

    pub(super) fn port_forward(&self, request: PortForwardRequest) -> Result<String, CriError> {
        self.promise("portforward", Wanted::PortForward { sandbox: request.pod_sandbox_id })
    }

    fn promise(&self, kind: &str, wanted: Wanted) -> Result<String, CriError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        waiting.retain(|_, (since, _)| since.elapsed() < GOOD_FOR);
        if waiting.len() >= MAX_WAITING {
            return Err(CriError::Unavailable("too many sessions are asked for and not begun".to_owned()));
        }
        let token = uuid::Uuid::new_v4().simple().to_string();
        waiting.insert(token.clone(), (Instant::now(), wanted));
        Ok(format!("http://{}/{kind}/{token}", self.address))
    }

    fn redeem(&self, path: &str) -> Option<Wanted> {
        let token = path.rsplit('/').next()?;
        let mut waiting = self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        waiting.remove(token).filter(|(since, _)| since.elapsed() < GOOD_FOR).map(|(_, wanted)| wanted)
    }

    /// Serves the URLs until `shutdown`, which ends what goes on.
    pub(super) async fn run(self: Arc<Self>, listener: TcpListener, shutdown: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else { continue };
            let (sessions, stop) = (Arc::clone(&self), shutdown.clone());
            self.work.spawn(async move {
                let answer = service_fn(|request| {
                    let (sessions, stop) = (Arc::clone(&sessions), stop.clone());
                    async move { Ok::<_, std::convert::Infallible>(sessions.answer(request, stop)) }
                });
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                tokio::select! {
                    () = stop.cancelled() => {}
                    ended = connection.with_upgrades() => if let Err(error) = ended {
                        tracing::debug!(%error, "a session's connection broke");
                    }
                }
            });
        }
        self.work.close();
        self.work.wait().await;
    }

    fn answer(
        &self,
        mut request: Request<Incoming>,
        stop: CancellationToken,
    ) -> Response<Either<Empty<Bytes>, Full<Bytes>>> {
        let Some(wanted) = self.redeem(request.uri().path()) else {
            return words(StatusCode::NOT_FOUND, "there is no such session, or it was begun already");
        };
        let engine = Arc::clone(&self.engine);
        let begun = match wanted {
            Wanted::Command { id, what, stdio } => carry::command(engine, id, what, stdio, &mut request),
            Wanted::PortForward { sandbox } => carry::forward(engine, sandbox, &mut request),
        };
        match begun {
            Ok(carry::Begun { answer, work }) => {
                self.work.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = work => {}
                    }
                });
                answer.map(Either::Left)
            }
            Err(carry::Refused { status, message }) => words(status, &message),
        }
    }
}

fn words(status: StatusCode, text: &str) -> Response<Either<Empty<Bytes>, Full<Bytes>>> {
    let mut answer = Response::new(Either::Right(Full::new(Bytes::from(text.to_owned()))));
    *answer.status_mut() = status;
    answer
}
