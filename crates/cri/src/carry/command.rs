//! Exec and attach.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use spdy::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::channels::{self, Protocol};
use super::streams::{self, header};
use super::{Begun, Refused, What, remote, websocket};
use crate::{CriError, Engine, Session, StdioRequest};

/// The other end has this long to begin.
const BEGIN: Duration = Duration::from_secs(30);
const VERSION: &str = "X-Stream-Protocol-Version";

/// Begins a command, or joins a container, for whoever sent `request`.
pub fn command(
    engine: Arc<dyn Engine>,
    id: String,
    what: What,
    stdio: StdioRequest,
    request: &mut Request<Incoming>,
) -> Result<Begun, Refused> {
    if websocket::is_websocket(request.headers()) {
        let protocol = websocket::choose(request.headers(), &channels::PROTOCOLS)
            .ok_or_else(|| Refused::bad("unable to negotiate protocol: none of those offered is known"))?;
        let (answer, upgrade) = websocket::upgrade(request, protocol)?;
        return Ok(Begun::new(answer, async move {
            let Ok(upgraded) = upgrade.await else { return };
            let socket = websocket::socket(upgraded).await;
            let begun = start(&*engine, &id, what, stdio).await;
            channels::run(socket, begun, Protocol::of(protocol)).await;
        }));
    }
    if websocket::is_spdy(request.headers()) {
        let mut answer = websocket::switching("SPDY/3.1");
        answer.headers_mut().insert(VERSION, HeaderValue::from_static("v4.channel.k8s.io"));
        let upgrade = hyper::upgrade::on(request);
        return Ok(Begun::new(answer, async move {
            let Ok(upgraded) = upgrade.await else { return };
            over_streams(&*engine, streams::over(TokioIo::new(upgraded)), &id, what, stdio).await;
        }));
    }
    Err(Refused::bad("Upgrade request required"))
}

async fn start(engine: &dyn Engine, id: &str, what: What, stdio: StdioRequest) -> Result<Session, CriError> {
    match what {
        What::Exec(command) => engine.exec(id, command, stdio).await,
        What::Attach => engine.attach(id, stdio).await,
    }
}

async fn over_streams(engine: &dyn Engine, mut streams: spdy::Connection, id: &str, what: What, stdio: StdioRequest) {
    let Ok(Some(mut ends)) = tokio::time::timeout(BEGIN, Ends::collect(&mut streams, stdio)).await else {
        return tracing::debug!("streams of a session did not all come");
    };
    let exit = match start(engine, id, what, stdio).await {
        Ok(session) => ends.carry(session).await,
        Err(error) => Err(error),
    };
    if let Some(mut error) = ends.error {
        let told = error.write_all(remote::status(&exit).to_string().as_bytes()).await;
        if told.is_err() || error.shutdown().await.is_err() {
            tracing::trace!("client is gone");
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
    async fn collect(streams: &mut spdy::Connection, stdio: StdioRequest) -> Option<Self> {
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
            let stream = streams.accept().await?;
            match header(&stream, "streamtype").unwrap_or_default() {
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
                && (tokio::io::copy(&mut from, &mut to).await.is_err() || to.shutdown().await.is_err())
            {
                tracing::trace!("standard input ended early");
            }
        };
        let sizes = async {
            let (Some(mut from), Some(to)) = (client_resize, resize) else { return };
            let mut line = Vec::new();
            while let Ok(byte) = from.read_u8().await {
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
    if tokio::io::copy(&mut from, &mut to).await.is_err() || to.shutdown().await.is_err() {
        tracing::trace!("client is gone");
    }
}
