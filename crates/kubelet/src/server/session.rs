//! Exec and attach.

use std::sync::Arc;
use std::time::Duration;

use cri::v1::{ContainerFilter, ContainerState, ContainerStateValue};
use cri::{CriError, Session, StdioRequest};
use http::{HeaderValue, Request, StatusCode, Uri};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Service;
use super::answer::{Answer, Refusal};
use super::channels::{self, Protocol};
use super::route::{Target, flag, values};
use super::streams::{Stream, Streams};
use super::{remote, websocket};
use crate::container::labels;
use crate::spec;

/// The other end has this long to begin.
const BEGIN: Duration = Duration::from_secs(30);
const VERSION: &str = "X-Stream-Protocol-Version";

/// What is to be begun.
#[derive(Clone)]
enum What {
    Exec(Vec<String>),
    Attach,
}

pub(super) async fn exec(
    service: Arc<Service>,
    target: &Target,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let command = values(request.uri(), "command");
    if command.is_empty() {
        return Err(Refusal::bad("you must specify at least one command for the container"));
    }
    begin(service, target, request, What::Exec(command)).await
}

pub(super) async fn attach(
    service: Arc<Service>,
    target: &Target,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    begin(service, target, request, What::Attach).await
}

fn stdio(uri: &Uri) -> Result<StdioRequest, Refusal> {
    let either = |a: &str, b: &str| flag(uri, a) || flag(uri, b);
    let tty = flag(uri, "tty");
    let stdio = StdioRequest {
        stdin: either("input", "stdin"),
        stdout: either("output", "stdout"),
        stderr: either("error", "stderr") && !tty,
        tty,
    };
    if !(stdio.stdin || stdio.stdout || stdio.stderr) {
        return Err(Refusal::bad("you must specify at least 1 of stdin, stdout, stderr"));
    }
    Ok(stdio)
}

async fn begin(
    service: Arc<Service>,
    target: &Target,
    mut request: Request<Incoming>,
    what: What,
) -> Result<Answer, Refusal> {
    let stdio = stdio(request.uri())?;
    let pod = service.find(target)?;
    let id = running(&service, &pod, &target.container).await?;
    if websocket::is_websocket(request.headers()) {
        let protocol = websocket::choose(request.headers(), &channels::PROTOCOLS)
            .ok_or_else(|| Refusal::bad("unable to negotiate protocol: none of those offered is known"))?;
        let (answer, upgrade) = websocket::upgrade(&mut request, protocol)?;
        let carrier = Arc::clone(&service);
        service.spawn(async move {
            let Ok(upgraded) = upgrade.await else { return };
            let socket = websocket::socket(upgraded).await;
            let begun = carrier.start(&id, what, stdio).await;
            channels::run(socket, begun, Protocol::of(protocol)).await;
        });
        return Ok(answer);
    }
    if websocket::is_spdy(request.headers()) {
        let over = service.context.config.spdy.clone();
        let over = over.ok_or_else(|| Refusal::new(StatusCode::NOT_IMPLEMENTED, "SPDY is not served yet"))?;
        let mut answer = websocket::switching("SPDY/3.1");
        answer.headers_mut().insert(VERSION, HeaderValue::from_static("v4.channel.k8s.io"));
        let upgrade = hyper::upgrade::on(&mut request);
        let carrier = Arc::clone(&service);
        service.spawn(async move {
            let Ok(upgraded) = upgrade.await else { return };
            let streams = over(Box::new(TokioIo::new(upgraded)));
            carrier.over_streams(streams, &id, what, stdio).await;
        });
        return Ok(answer);
    }
    Err(Refusal::bad("Upgrade request required"))
}

async fn running(service: &Service, pod: &Pod, name: &str) -> Result<String, Refusal> {
    let selector = [(labels::POD_UID, spec::uid(pod)), (labels::CONTAINER_NAME, name)];
    let filter = ContainerFilter {
        label_selector: selector.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        state: Some(ContainerStateValue { state: ContainerState::ContainerRunning as i32 }),
        ..Default::default()
    };
    let found = service.context.engine.list_containers(Some(filter)).await?;
    let found = found.into_iter().find(|one| one.state == ContainerState::ContainerRunning as i32);
    found.map(|one| one.id).ok_or_else(|| Refusal::internal(format!("container not found (\"{name}\")")))
}

impl Service {
    /// The pod of a target; of another pod with the same name nothing is told.
    pub(super) fn find(&self, target: &Target) -> Result<Arc<Pod>, Refusal> {
        let found = self.pods.find(&target.namespace, &target.pod);
        let found = found.filter(|pod| target.uid.as_deref().is_none_or(|uid| uid == spec::uid(pod)));
        found.ok_or_else(|| {
            Refusal::new(StatusCode::NOT_FOUND, format!("pod \"{}_{}\" not found", target.pod, target.namespace))
        })
    }

    /// Runs beside the request until done or shut down.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.sessions.spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = work => {}
            }
        });
    }

    async fn start(&self, id: &str, what: What, stdio: StdioRequest) -> Result<Session, CriError> {
        match what {
            What::Exec(command) => self.context.engine.exec(id, command, stdio).await,
            What::Attach => self.context.engine.attach(id, stdio).await,
        }
    }

    async fn over_streams(&self, mut streams: Box<dyn Streams>, id: &str, what: What, stdio: StdioRequest) {
        let Ok(Some(mut ends)) = tokio::time::timeout(BEGIN, Ends::collect(&mut *streams, stdio)).await else {
            return tracing::debug!("streams of a session did not all come");
        };
        let exit = match self.start(id, what, stdio).await {
            Ok(session) => ends.carry(session).await,
            Err(error) => Err(error),
        };
        if let Some(mut error) = ends.error {
            let told = error.io.write_all(remote::status(&exit).to_string().as_bytes()).await;
            if told.is_err() || error.io.shutdown().await.is_err() {
                tracing::trace!("client is gone");
            }
        }
    }
}

/// The client's ends of a session's streams.
#[derive(Default)]
struct Ends {
    stdin: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    error: Option<Stream>,
    resize: Option<Stream>,
}

impl Ends {
    async fn collect(streams: &mut dyn Streams, stdio: StdioRequest) -> Option<Self> {
        let mut ends = Self::default();
        loop {
            let complete = ends.error.is_some()
                && ends.stdin.is_some() == stdio.stdin
                && ends.stdout.is_some() == stdio.stdout
                && ends.stderr.is_some() == stdio.stderr
                && ends.resize.is_some() == stdio.tty;
            if complete {
                return Some(ends);
            }
            let stream = streams.accept().await?.ok()?;
            match stream.header("streamtype").unwrap_or_default() {
                "stdin" => ends.stdin = Some(stream),
                "stdout" => ends.stdout = Some(stream),
                "stderr" => ends.stderr = Some(stream),
                "error" => ends.error = Some(stream),
                "resize" => ends.resize = Some(stream),
                _ => {}
            }
        }
    }

    async fn carry(&mut self, session: Session) -> Result<i32, CriError> {
        let Session { stdin, stdout, stderr, resize, exit } = session;
        let (client_in, client_out, client_err) = (self.stdin.take(), self.stdout.take(), self.stderr.take());
        let client_resize = self.resize.take();
        let input = async {
            if let (Some(mut from), Some(mut to)) = (client_in, stdin)
                && (tokio::io::copy(&mut from.io, &mut to).await.is_err() || to.shutdown().await.is_err())
            {
                tracing::trace!("standard input ended early");
            }
        };
        let sizes = async {
            let (Some(mut from), Some(to)) = (client_resize, resize) else { return };
            let mut line = Vec::new();
            while let Ok(byte) = from.io.read_u8().await {
                line.push(byte);
                if byte == b'}' || line.len() > 256 {
                    if let Some(size) = channels::terminal_size(&line)
                        && to.send(size).await.is_err()
                    {
                        return;
                    }
                    line.clear();
                }
            }
        };
        let output = async {
            tokio::join!(copy(stdout, client_out), copy(stderr, client_err));
            exit.await
        };
        let rest = async {
            tokio::join!(input, sizes);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            exit = output => exit,
            () = rest => Err(CriError::Internal("session ended".to_owned())),
        }
    }
}

async fn copy(from: Option<Box<dyn tokio::io::AsyncRead + Send + Unpin>>, to: Option<Stream>) {
    let (Some(mut from), Some(mut to)) = (from, to) else { return };
    if tokio::io::copy(&mut from, &mut to.io).await.is_err() || to.io.shutdown().await.is_err() {
        tracing::trace!("client is gone");
    }
}
