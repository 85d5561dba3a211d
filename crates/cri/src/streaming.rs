//! Interactive sessions with a container: exec, attach, port-forward.
//!
//! CRI answers these with a URL of an HTTP server of the engine. Inside one process that detour is left out: the
//! session is a set of byte streams, and whoever serves it to the outside chooses the protocol.

use std::future::Future;
use std::pin::Pin;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::CriError;

/// Bytes in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// Which of the standard streams the caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StdioRequest {
    /// Feed standard input.
    pub stdin: bool,
    /// Read standard output.
    pub stdout: bool,
    /// Read standard error; with a terminal there is none.
    pub stderr: bool,
    /// Allocate a terminal.
    pub tty: bool,
}

/// An exec or attach under way. Dropping it detaches; it does not kill an attached container.
pub struct Session {
    /// Standard input; dropping it is end of file.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Standard output (everything, with a terminal).
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Standard error.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Terminal resizes.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// Exit code of the process, known after its output has been read to the end.
    pub exit: Pin<Box<dyn Future<Output = Result<i32, CriError>> + Send>>,
}

/// Sessions of an engine.
#[async_trait]
pub trait Streaming: Send + Sync {
    /// Starts a command in a running container.
    async fn exec(&self, container_id: &str, command: Vec<String>, stdio: StdioRequest) -> Result<Session, CriError>;
    /// Joins the streams of the container's first process.
    async fn attach(&self, container_id: &str, stdio: StdioRequest) -> Result<Session, CriError>;
    /// Connects to a TCP port inside the sandbox's network namespace (`localhost` there).
    async fn port_forward(&self, sandbox_id: &str, port: u16) -> Result<Box<dyn Duplex>, CriError>;
}
