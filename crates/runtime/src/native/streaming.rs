//! Commands and sessions: exec, attach, port-forward.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cri::{CriError, Duplex, Session, StdioRequest, Streaming, TerminalSize, v1};
use sys::terminal::Terminal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::client::Conversation;
use super::sandbox::new_id;
use super::state::{Container, Phase, Sandbox};
use super::{Native, internal};
use crate::shared::{MAX_OUTPUT, connect};
use crate::shim::protocol::{Exec, Reply, Request};

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A command under way.
struct Running {
    conversation: Conversation,
    exec: String,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

fn reader(fd: OwnedFd) -> Result<Reader, CriError> {
    Ok(Box::new(pipe::Receiver::from_owned_fd(fd).map_err(internal)?))
}

fn null() -> io::Result<OwnedFd> {
    Ok(File::options().read(true).write(true).open("/dev/null")?.into())
}

impl Native {
    fn running(&self, id: &str) -> Result<(Arc<Sandbox>, Arc<Container>), CriError> {
        let (sandbox, container) = self.container(id)?;
        match container.phase() {
            Phase::Running { .. } => Ok((sandbox, container)),
            _ => Err(CriError::FailedPrecondition(format!("container {id:?} is not in running state"))),
        }
    }

    async fn launch(&self, id: &str, command: Vec<String>, stdio: StdioRequest) -> Result<Running, CriError> {
        let (sandbox, container) = self.running(id)?;
        let exec = new_id().chars().take(16).collect::<String>();
        let process = process_file(&container, command, stdio.tty, &exec).map_err(internal)?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        if !stdio.tty {
            let (read, write) = sys::fd::pipe().map_err(internal)?;
            theirs.push(if stdio.stdin { read } else { null().map_err(internal)? });
            ours.push(stdio.stdin.then_some(write));
            for wanted in [stdio.stdout, stdio.stderr] {
                let (read, write) = sys::fd::pipe().map_err(internal)?;
                sys::fd::give_to(&write, container.identity().uid).map_err(internal)?;
                theirs.push(if wanted { write } else { null().map_err(internal)? });
                ours.push(wanted.then_some(read));
            }
        }
        let request =
            Exec { id: id.to_owned(), exec: exec.clone(), process: process.display().to_string(), tty: stdio.tty };
        let mut conversation = sandbox.shim.ask(Request::Exec(request), &theirs).await.map_err(internal)?;
        drop(theirs);
        let started = conversation.success().await;
        drop(std::fs::remove_file(&process));
        match started {
            Ok(Reply::Started { .. }) => {}
            Ok(other) => return Err(CriError::Internal(format!("the shim answered {other:?}"))),
            Err(error) => return Err(CriError::Internal(format!("failed to exec in container: {error}"))),
        }
        if stdio.tty {
            let master = conversation.fds.pop();
            let input = master.as_ref().map(OwnedFd::try_clone).transpose().map_err(internal)?;
            return Ok(Running { conversation, exec, stdin: input, stdout: master, stderr: None });
        }
        let mut ours = ours.into_iter();
        let mut next = || ours.next().flatten();
        Ok(Running { conversation, exec, stdin: next(), stdout: next(), stderr: next() })
    }

    pub(crate) async fn run_sync(
        &self,
        id: &str,
        command: Vec<String>,
        seconds: i64,
    ) -> Result<v1::ExecSyncResponse, CriError> {
        let (sandbox, _) = self.running(id)?;
        let stdio = StdioRequest { stdin: false, stdout: true, stderr: true, tty: false };
        let running = self.launch(id, command, stdio).await?;
        let (stdout, stderr) = (collect(running.stdout), collect(running.stderr));
        let work = async { tokio::join!(stdout, stderr, running.conversation.exit()) };
        let patience =
            if seconds > 0 { Duration::from_secs(seconds.unsigned_abs()) } else { Duration::from_secs(24 * 3600) };
        let Ok((stdout, stderr, exit)) = timeout(patience, work).await else {
            let kill = Request::Kill { id: id.to_owned(), exec: Some(running.exec), signal: 9 };
            sandbox.shim.call(kill).await.map_err(internal)?;
            return Err(CriError::DeadlineExceeded(format!("timeout {seconds}s exceeded: context deadline exceeded")));
        };
        Ok(v1::ExecSyncResponse {
            stdout: stdout.map_err(internal)?,
            stderr: stderr.map_err(internal)?,
            exit_code: exit.map_err(internal)?,
        })
    }
}

impl Native {
    /// Carries out a session's resizes until it ends or the engine is closed.
    fn resizer<F>(&self, apply: impl Fn(TerminalSize) -> F + Send + 'static) -> mpsc::Sender<TerminalSize>
    where
        F: Future<Output = io::Result<()>> + Send,
    {
        let (sender, mut sizes) = mpsc::channel::<TerminalSize>(4);
        let cancel = self.inner.cancel.clone();
        let work = async move {
            while let Some(size) = sizes.recv().await {
                if let Err(error) = apply(size).await {
                    tracing::debug!(%error, "a terminal cannot be resized");
                }
            }
        };
        self.inner.tasks.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = work => {}
            }
        });
        sender
    }
}

async fn collect(stream: Option<OwnedFd>) -> io::Result<Vec<u8>> {
    let Some(fd) = stream else { return Ok(Vec::new()) };
    let mut receiver = pipe::Receiver::from_owned_fd(fd)?;
    let mut collected = Vec::new();
    (&mut receiver).take(MAX_OUTPUT).read_to_end(&mut collected).await?;
    // The rest is read and thrown away: the command must not hang on a full pipe.
    tokio::io::copy(&mut receiver, &mut tokio::io::sink()).await?;
    Ok(collected)
}

/// The container's own process description with another command line.
fn process_file(container: &Container, command: Vec<String>, tty: bool, exec: &str) -> io::Result<PathBuf> {
    let config: serde_json::Value = serde_json::from_slice(&std::fs::read(container.directory.join("config.json"))?)?;
    let mut process = config.get("process").cloned().unwrap_or_default();
    if let Some(map) = process.as_object_mut() {
        map.insert("args".to_owned(), command.into());
        map.insert("terminal".to_owned(), tty.into());
    }
    let file = container.directory.join(format!("exec-{exec}.json"));
    std::fs::write(&file, serde_json::to_vec(&process)?)?;
    Ok(file)
}

fn terminal(fd: OwnedFd) -> Result<Terminal, CriError> {
    Terminal::new(fd).map_err(internal)
}

#[async_trait]
impl Streaming for Native {
    async fn exec(&self, container_id: &str, command: Vec<String>, stdio: StdioRequest) -> Result<Session, CriError> {
        let running = self.launch(container_id, command, stdio).await?;
        let exit = Box::pin(async move { running.conversation.exit().await.map_err(internal) });
        if !stdio.tty {
            let stdin = running.stdin.map(pipe::Sender::from_owned_fd).transpose().map_err(internal)?;
            return Ok(Session {
                stdin: stdin.map(|stdin| Box::new(stdin) as Writer),
                stdout: running.stdout.map(reader).transpose()?,
                stderr: running.stderr.map(reader).transpose()?,
                resize: None,
                exit,
            });
        }
        let sizes = running.stdin.as_ref().map(OwnedFd::try_clone).transpose().map_err(internal)?;
        let resize = sizes.map(|sizes| {
            let sizes = Arc::new(sizes);
            self.resizer(move |size| {
                let sizes = sizes.clone();
                async move { sys::fd::resize(&*sizes, size.width, size.height) }
            })
        });
        let stdin = running.stdin.filter(|_| stdio.stdin).map(terminal).transpose()?;
        Ok(Session {
            stdin: stdin.map(|stdin| Box::new(stdin) as Writer),
            stdout: running.stdout.map(terminal).transpose()?.map(|out| Box::new(out) as Reader),
            stderr: None,
            resize,
            exit,
        })
    }

    async fn attach(&self, container_id: &str, stdio: StdioRequest) -> Result<Session, CriError> {
        let (sandbox, container) = self.running(container_id)?;
        let stderr = stdio.stderr && !container.config.tty;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for (wanted, input) in [(stdio.stdin, true), (stdio.stdout, false), (stderr, false)] {
            let (read, write) = sys::fd::pipe().map_err(internal)?;
            let (mine, other) = if input { (write, read) } else { (read, write) };
            ours.push(wanted.then_some(mine));
            theirs.extend(wanted.then_some(other));
        }
        let request = Request::Attach { id: container_id.to_owned(), stdin: stdio.stdin, stdout: stdio.stdout, stderr };
        let mut conversation = sandbox.shim.ask(request, &theirs).await.map_err(internal)?;
        drop(theirs);
        conversation.success().await.map_err(internal)?;
        let resize = container.config.tty.then(|| {
            let (shim, id) = (sandbox.shim.clone(), container_id.to_owned());
            self.resizer(move |size| {
                let (shim, id) = (shim.clone(), id.clone());
                async move {
                    let request = Request::Resize { id, columns: size.width, rows: size.height };
                    shim.call(request).await.map(drop)
                }
            })
        });
        let mut ours = ours.into_iter();
        let mut next = || ours.next().flatten();
        let stdin = next().map(pipe::Sender::from_owned_fd).transpose().map_err(internal)?;
        Ok(Session {
            stdin: stdin.map(|stdin| Box::new(stdin) as Writer),
            stdout: next().map(reader).transpose()?,
            stderr: next().map(reader).transpose()?,
            resize,
            exit: Box::pin(async move { conversation.exit().await.map_err(internal) }),
        })
    }

    async fn port_forward(&self, sandbox_id: &str, port: u16) -> Result<Box<dyn Duplex>, CriError> {
        let sandbox = self.sandbox(sandbox_id)?;
        let host = sandbox.options().network == v1::NamespaceMode::Node as i32;
        connect((!host).then(|| sandbox.netns()).as_deref(), port).await
    }
}
