//! Exec, attach and port-forward.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, ResizeContainerTTYOptionsBuilder, ResizeExecOptionsBuilder,
};
use bytes::Bytes;
use cri::v1::{self, ExecSyncResponse};
use cri::{CriError, Duplex, Session, StdioRequest, Streaming, TerminalSize};
use futures::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::StreamReader;

use super::sandbox::netns;
use super::{Docker, USUAL, create, within};
use crate::shared::{MAX_OUTPUT, connect, internal};

type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;
type Input = Pin<Box<dyn AsyncWrite + Send>>;
type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Chunks that wait for a slow reader.
const QUEUE: usize = 32;

/// What was asked of Docker, by which its end and size are asked for.
#[derive(Clone)]
enum Process {
    Exec(String),
    Container(String),
}

impl Docker {
    /// Runs beside the caller until done or until the engine is closed.
    fn beside(&self, work: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.inner.cancel.clone();
        self.inner.tasks.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Takes Docker's one stream apart into a session's.
    fn session(&self, process: Process, output: Output, input: Input, stdio: StdioRequest) -> Session {
        let (ended, end) = watch::channel(false);
        let (out, stdout) = mpsc::channel(QUEUE);
        let (err, stderr) = mpsc::channel(QUEUE);
        self.beside(async move {
            part(output, out, err).await;
            ended.send_replace(true);
        });
        let engine = self.clone();
        let asked = process.clone();
        Session {
            stdin: stdio.stdin.then(|| self.writer(input)),
            stdout: stdio.stdout.then(|| reader(stdout)),
            stderr: (stdio.stderr && !stdio.tty).then(|| reader(stderr)),
            resize: stdio.tty.then(|| self.resizer(process)),
            exit: Box::pin(async move { engine.end_of(asked, end).await }),
        }
    }

    /// Dropping what this gives is end of file for the process; with Docker's own end it takes a shutdown.
    fn writer(&self, mut input: Input) -> Writer {
        let (ours, mut theirs) = tokio::io::duplex(64 << 10);
        self.beside(async move {
            if tokio::io::copy(&mut theirs, &mut input).await.is_err() || input.shutdown().await.is_err() {
                tracing::trace!("standard input ended early");
            }
        });
        Box::new(ours)
    }

    fn resizer(&self, process: Process) -> mpsc::Sender<TerminalSize> {
        let (sender, mut sizes) = mpsc::channel::<TerminalSize>(4);
        let api = self.api().clone();
        self.beside(async move {
            while let Some(TerminalSize { width, height }) = sizes.recv().await {
                let (w, h) = (i32::from(width), i32::from(height));
                let resized = match &process {
                    Process::Exec(id) => api.resize_exec(id, ResizeExecOptionsBuilder::new().w(w).h(h).build()).await,
                    Process::Container(id) => {
                        api.resize_container_tty(id, ResizeContainerTTYOptionsBuilder::new().w(w).h(h).build()).await
                    }
                };
                if let Err(error) = resized {
                    tracing::debug!(%error, "a terminal cannot be resized");
                }
            }
        });
        sender
    }

    /// The exit code, which Docker knows a moment after the output has ended.
    async fn end_of(&self, process: Process, mut output_ended: watch::Receiver<bool>) -> Result<i32, CriError> {
        output_ended.wait_for(|ended| *ended).await.map_err(internal)?;
        for _ in 0..1000 {
            let (running, code) = match &process {
                Process::Exec(id) => {
                    let found = within(USUAL, self.api().inspect_exec(id)).await?;
                    (found.running == Some(true), found.exit_code)
                }
                Process::Container(id) => {
                    let state = self.inspect(id).await?.state.unwrap_or_default();
                    // Detaching ends an attach, too.
                    if state.running == Some(true) { (false, Some(0)) } else { (false, state.exit_code) }
                }
            };
            if !running {
                return Ok(code.and_then(|code| i32::try_from(code).ok()).unwrap_or(0));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(CriError::DeadlineExceeded("the command closed its output but does not end".to_owned()))
    }

    async fn begin(&self, id: &str, command: Vec<String>, stdio: StdioRequest) -> Result<(String, Session), CriError> {
        let options = CreateExecOptions {
            attach_stdin: Some(stdio.stdin),
            attach_stdout: Some(stdio.stdout),
            attach_stderr: Some(stdio.stderr && !stdio.tty),
            tty: Some(stdio.tty),
            cmd: Some(command),
            ..CreateExecOptions::default()
        };
        let exec = within(USUAL, self.api().create_exec(id, options)).await?.id;
        let options = StartExecOptions { detach: false, tty: stdio.tty, output_capacity: Some(64 << 10) };
        match within(USUAL, self.api().start_exec(&exec, Some(options))).await? {
            StartExecResults::Attached { output, input } => {
                let session = self.session(Process::Exec(exec.clone()), output, input, stdio);
                Ok((exec, session))
            }
            StartExecResults::Detached => Err(CriError::Internal("Docker did not attach to the command".to_owned())),
        }
    }

    pub(super) async fn run_sync(
        &self,
        id: &str,
        command: Vec<String>,
        seconds: i64,
    ) -> Result<ExecSyncResponse, CriError> {
        let stdio = StdioRequest { stdout: true, stderr: true, ..StdioRequest::default() };
        let (exec, session) = self.begin(id, command, stdio).await?;
        let work = async { tokio::join!(collect(session.stdout), collect(session.stderr), session.exit) };
        let limit = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map_or(super::LONG, Duration::from_secs);
        let Ok((stdout, stderr, exit)) = tokio::time::timeout(limit, work).await else {
            self.kill_exec(&exec).await?;
            return Err(CriError::DeadlineExceeded(format!("timeout {seconds}s exceeded: context deadline exceeded")));
        };
        Ok(ExecSyncResponse { stdout: stdout.map_err(internal)?, stderr: stderr.map_err(internal)?, exit_code: exit? })
    }

    /// Docker has no word for it, but it tells the process.
    async fn kill_exec(&self, exec: &str) -> Result<(), CriError> {
        let found = within(USUAL, self.api().inspect_exec(exec)).await?;
        let pid = found.pid.filter(|_| found.running == Some(true)).and_then(|pid| i32::try_from(pid).ok());
        match pid.filter(|pid| *pid > 1) {
            Some(pid) => sys::process::kill(pid, 9).map_err(internal),
            None => Ok(()),
        }
    }
}

/// Hands on what comes until the end. What nobody reads is dropped: the process must not hang on it.
async fn part(mut output: Output, out: mpsc::Sender<Bytes>, err: mpsc::Sender<Bytes>) {
    while let Some(chunk) = output.next().await {
        let (to, message) = match chunk {
            Ok(LogOutput::StdErr { message }) => (&err, message),
            Ok(LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message }) => {
                (&out, message)
            }
            Err(error) => return tracing::debug!(%error, "a stream of Docker's broke"),
        };
        if to.send(message).await.is_err() {
            tracing::trace!("nobody reads a stream");
        }
    }
}

fn reader(chunks: mpsc::Receiver<Bytes>) -> Reader {
    Box::new(StreamReader::new(ReceiverStream::new(chunks).map(Ok::<_, io::Error>)))
}

async fn collect(stream: Option<Reader>) -> io::Result<Vec<u8>> {
    let Some(mut stream) = stream else { return Ok(Vec::new()) };
    let mut collected = Vec::new();
    (&mut stream).take(MAX_OUTPUT).read_to_end(&mut collected).await?;
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok(collected)
}

#[async_trait]
impl Streaming for Docker {
    async fn exec(&self, container_id: &str, command: Vec<String>, stdio: StdioRequest) -> Result<Session, CriError> {
        Ok(self.begin(container_id, command, stdio).await?.1)
    }

    async fn attach(&self, container_id: &str, stdio: StdioRequest) -> Result<Session, CriError> {
        let (container, _) = self.container(container_id).await?;
        let stdio = StdioRequest { tty: container.config.tty, ..stdio };
        let options = AttachContainerOptionsBuilder::new().stream(true).stdin(stdio.stdin).stdout(stdio.stdout);
        let options = options.stderr(stdio.stderr && !stdio.tty).build();
        let attached = within(USUAL, self.api().attach_container(&container.id, Some(options))).await?;
        Ok(self.session(Process::Container(container.id), attached.output, attached.input, stdio))
    }

    async fn port_forward(&self, sandbox_id: &str, port: u16) -> Result<Box<dyn Duplex>, CriError> {
        let (sandbox, found) = self.sandbox(sandbox_id).await?;
        if create::options(&sandbox.config).network == v1::NamespaceMode::Node as i32 {
            return connect(None, port).await;
        }
        connect(Some(&netns(&found)?), port).await
    }
}
