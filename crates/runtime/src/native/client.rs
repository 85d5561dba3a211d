//! The engine's side of the conversation with a shim.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::shim::protocol::{self, Envelope, Reply, Request, SOCKET, VERSION};

/// No answer of a shim takes longer, except the end of a process.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a sandbox's shim listens.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    directory: PathBuf,
}

/// A connection after its request.
#[derive(Debug)]
pub(crate) struct Conversation {
    stream: UnixStream,
    buffer: Vec<u8>,
    /// Descriptors that came with answers.
    pub fds: Vec<OwnedFd>,
}

impl Client {
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Starts the shim of a sandbox, in a control group made before; it listens when this returns.
    pub(crate) async fn launch(&self, program: &Path, cgroup: &str) -> io::Result<()> {
        let mut command = tokio::process::Command::new(program);
        command.arg("shim").arg("serve").arg(&self.directory).arg(cgroup).stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await??;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(io::Error::other(if said.is_empty() { format!("the shim ended with {}", output.status) } else { said }))
    }

    /// Asks; the answers are read from what comes back.
    pub(crate) async fn ask(&self, request: Request, fds: &[OwnedFd]) -> io::Result<Conversation> {
        let stream = sys::fd::connect(&self.directory, SOCKET)?;
        stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(stream)?;
        let bytes = protocol::encode(&Envelope { version: VERSION, request })?;
        let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let mut sent = stream.async_io(Interest::WRITABLE, || sys::fd::send(&stream, &bytes, &raw)).await?;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            sent += stream.async_io(Interest::WRITABLE, || sys::fd::send(&stream, rest, &[])).await?;
        }
        Ok(Conversation { stream, buffer: Vec::new(), fds: Vec::new() })
    }

    /// Asks, and waits for the one answer.
    pub(crate) async fn call(&self, request: Request) -> io::Result<Reply> {
        let work = async { self.ask(request, &[]).await?.success().await };
        tokio::time::timeout(PATIENCE, work).await?
    }
}

impl Conversation {
    /// The next answer.
    pub(crate) async fn next(&mut self) -> io::Result<Reply> {
        loop {
            if let Some(reply) = protocol::decode(&mut self.buffer)? {
                return Ok(reply);
            }
            let mut chunk = [0; 4096];
            let stream = &self.stream;
            let (n, fds) = stream.async_io(Interest::READABLE, || sys::fd::receive(stream, &mut chunk)).await?;
            if n == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.buffer.extend_from_slice(chunk.get(..n).unwrap_or_default());
            self.fds.extend(fds);
        }
    }

    /// The next answer, a refusal being an error.
    pub(crate) async fn success(&mut self) -> io::Result<Reply> {
        match self.next().await? {
            Reply::Failed { message } => Err(io::Error::other(message)),
            reply => Ok(reply),
        }
    }

    /// The end of the process that this conversation is about.
    pub(crate) async fn exit(mut self) -> io::Result<i32> {
        loop {
            if let Reply::Exited { code } = self.success().await? {
                return Ok(code);
            }
        }
    }
}
