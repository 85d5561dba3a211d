//! Exec, attach and port-forward of a remote engine, over its streaming URLs.

use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::mpsc;

use super::{Remote, USUAL, upgrade, within};
use crate::v1::{AttachRequest, ExecRequest, PortForwardRequest};
use crate::{CriError, Duplex, Session, StdioRequest, Streaming, TerminalSize};

const COMMAND: &str = "v4.channel.k8s.io";
const FORWARD: &str = "portforward.k8s.io";
/// How a session ended is said in fewer bytes.
const MAX_STATUS: u64 = 64 << 10;

#[async_trait]
impl Streaming for Remote {
    async fn exec(&self, container_id: &str, command: Vec<String>, stdio: StdioRequest) -> Result<Session, CriError> {
        let request = ExecRequest {
            container_id: container_id.to_owned(),
            cmd: command,
            tty: stdio.tty,
            stdin: stdio.stdin,
            stdout: stdio.stdout,
            stderr: stdio.stderr && !stdio.tty,
        };
        let url = within(USUAL, self.runtime().exec(request)).await?.url;
        session(&url, stdio).await
    }

    async fn attach(&self, container_id: &str, stdio: StdioRequest) -> Result<Session, CriError> {
        let request = AttachRequest {
            container_id: container_id.to_owned(),
            stdin: stdio.stdin,
            tty: stdio.tty,
            stdout: stdio.stdout,
            stderr: stdio.stderr && !stdio.tty,
        };
        let url = within(USUAL, self.runtime().attach(request)).await?.url;
        session(&url, stdio).await
    }

    async fn port_forward(&self, sandbox_id: &str, port: u16) -> Result<Box<dyn Duplex>, CriError> {
        let request = PortForwardRequest { pod_sandbox_id: sandbox_id.to_owned(), port: vec![i32::from(port)] };
        let url = within(USUAL, self.runtime().port_forward(request)).await?.url;
        let connection = upgrade::open(&url, FORWARD).await?;
        let pair = |kind: &str| {
            let headers = [("streamtype", kind), ("port", &port.to_string()), ("requestid", "0")];
            connection.open(headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
        };
        let mut error = pair("error").map_err(broken)?;
        let data = pair("data").map_err(broken)?;
        error.shutdown().await.map_err(broken)?;
        Ok(Box::new(Forwarded { data, error, said: Vec::new(), _connection: connection }))
    }
}

fn broken(error: std::io::Error) -> CriError {
    CriError::Unavailable(format!("the engine's stream broke: {error}"))
}

async fn session(url: &str, stdio: StdioRequest) -> Result<Session, CriError> {
    let connection = upgrade::open(url, COMMAND).await?;
    let open = |wanted: bool, kind: &str| {
        let headers = vec![("streamtype".to_owned(), kind.to_owned())];
        wanted.then(|| connection.open(headers).map_err(broken)).transpose()
    };
    let error = open(true, "error")?;
    let stdin = open(stdio.stdin, "stdin")?;
    let stdout = open(stdio.stdout, "stdout")?;
    let stderr = open(stdio.stderr && !stdio.tty, "stderr")?;
    let resize = open(stdio.tty, "resize")?.map(resizer);
    let exit = async move {
        let mut said = Vec::new();
        if let Some(error) = error
            && let Err(reset) = error.take(MAX_STATUS).read_to_end(&mut said).await
            && said.is_empty()
        {
            return Err(broken(reset));
        }
        // containerd resets its streams when all is said.
        // The streams go with it.
        drop(connection);
        exit_code(&said)
    };
    Ok(Session {
        stdin: stdin.map(|stream| Box::new(stream) as _),
        stdout: stdout.map(|stream| Box::new(stream) as _),
        stderr: stderr.map(|stream| Box::new(stream) as _),
        resize,
        exit: Box::pin(exit),
    })
}

/// Terminal sizes go out as JSON, one after the other, until the session's holder lets go.
fn resizer(mut stream: spdy::Stream) -> mpsc::Sender<TerminalSize> {
    let (sender, mut sizes) = mpsc::channel::<TerminalSize>(4);
    tokio::spawn(async move {
        while let Some(size) = sizes.recv().await {
            let text = serde_json::json!({"Width": size.width, "Height": size.height}).to_string();
            if stream.write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
    });
    sender
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    status: String,
    message: String,
    reason: String,
    details: Details,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Details {
    causes: Vec<Cause>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Cause {
    reason: String,
    message: String,
}

/// What the error stream of a session says at its end.
fn exit_code(said: &[u8]) -> Result<i32, CriError> {
    if said.is_empty() {
        return Ok(0);
    }
    let Ok(status) = serde_json::from_slice::<Status>(said) else {
        return Err(CriError::Internal(String::from_utf8_lossy(said).into_owned()));
    };
    if status.status == "Success" {
        return Ok(0);
    }
    let code = status.details.causes.iter().find(|cause| cause.reason == "ExitCode");
    match code.and_then(|cause| cause.message.parse().ok()) {
        Some(code) if status.reason == "NonZeroExitCode" => Ok(code),
        _ => Err(CriError::Internal(status.message)),
    }
}

/// A forwarded connection. What its error stream says is the reason of its end.
struct Forwarded {
    data: spdy::Stream,
    error: spdy::Stream,
    said: Vec<u8>,
    _connection: spdy::Connection,
}

impl Forwarded {
    /// The error stream, to its end: empty when all went well.
    fn poll_error(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let mut bytes = [0; 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.error).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() && self.said.len() < 4096 => {
                    self.said.extend_from_slice(buffer.filled());
                }
                Poll::Ready(_) if self.said.is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(_) => {
                    let words = String::from_utf8_lossy(&self.said).into_owned();
                    return Poll::Ready(Err(std::io::Error::other(words)));
                }
            }
        }
    }
}

impl AsyncRead for Forwarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.data).poll_read(cx, buf) {
            Poll::Ready(Ok(())) if buf.filled().len() > before => Poll::Ready(Ok(())),
            // The end, or a reset, which is an end as well where nothing else is said.
            Poll::Ready(_) => self.poll_error(cx),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Forwarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.data).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.data).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.data).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_with_a_code_or_a_reason() {
        assert_eq!(exit_code(b"").unwrap(), 0);
        assert_eq!(exit_code(br#"{"status":"Success"}"#).unwrap(), 0);
        let failed = br#"{"status":"Failure","reason":"NonZeroExitCode","message":"m",
            "details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
        assert_eq!(exit_code(failed).unwrap(), 3);
        let broken = exit_code(br#"{"status":"Failure","reason":"InternalError","message":"no such file"}"#);
        assert_eq!(broken.unwrap_err().to_string(), "no such file");
        assert_eq!(exit_code(b"words").unwrap_err().to_string(), "words");
    }
}
