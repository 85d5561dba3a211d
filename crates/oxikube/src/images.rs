//! A small door into the running server's image store, for `oxikube image`: one JSON line in, one out, on a socket
//! that only its owner can open.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cri::Local;
use cri::v1::{ImageSpec, PullImageRequest};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::problem::{During, Problem};

/// Longest request line, bytes.
const MAX_LINE: u64 = 64 << 10;
/// Requests under way at once.
const MAX_REQUESTS: usize = 16;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Request {
    /// Take in an archive.
    Import(PathBuf),
    /// All images.
    List,
    /// Fetch from a registry.
    Pull(String),
    /// Forget.
    Remove(String),
}

/// An image, as `image list -o json` prints it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageLine {
    pub(crate) id: String,
    pub(crate) names: Vec<String>,
    /// Bytes on disk.
    pub(crate) size: u64,
}

/// What is answered: images, or a sentence that says why not.
pub(crate) type Reply = Result<Vec<ImageLine>, String>;

/// Answers requests until `shutdown`.
pub(crate) async fn serve(socket: PathBuf, engine: Arc<dyn Local>, shutdown: CancellationToken) {
    let listener = match listen(&socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, socket = %socket.display(), "images cannot be managed"),
    };
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(done) = tasks.join_next(), if !tasks.is_empty() => if let Err(error) = done {
                tracing::error!(%error, "an image request broke");
            },
            accepted = listener.accept(), if tasks.len() < MAX_REQUESTS => if let Ok((stream, _)) = accepted {
                let engine = engine.clone();
                tasks.spawn(async move {
                    if let Err(error) = answer(&*engine, stream).await {
                        tracing::debug!(%error, "an image request was given up");
                    }
                });
            },
        }
    }
}

fn listen(socket: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn answer(engine: &dyn Local, stream: UnixStream) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let reading = BufReader::new(read.take(MAX_LINE)).read_line(&mut line).await;
    reading?;
    let reply: Reply = match serde_json::from_str(&line) {
        Ok(request) => carry_out(engine, request).await,
        Err(error) => Err(format!("the request cannot be read: {error}")),
    };
    let mut text = serde_json::to_string(&reply).map_err(std::io::Error::other)?;
    text.push('\n');
    write.write_all(text.as_bytes()).await
}

/// Does what is asked on an engine.
pub(crate) async fn carry_out(engine: &dyn Local, request: Request) -> Reply {
    let spec = |image: &str| ImageSpec { image: image.to_owned(), ..ImageSpec::default() };
    match request {
        Request::List => list(engine, |_| true).await,
        Request::Import(path) => {
            let ids = engine.import(&path).await.map_err(|e| format!("cannot import {}: {e}", path.display()))?;
            list(engine, |id| ids.iter().any(|i| i == id)).await
        }
        Request::Pull(name) => {
            let request = PullImageRequest { image: Some(spec(&name)), ..PullImageRequest::default() };
            let id = engine.pull_image(request).await.map_err(|e| format!("cannot pull {name}: {e}"))?;
            list(engine, |i| i == id).await
        }
        Request::Remove(name) => {
            match engine.image_status(spec(&name)).await {
                Ok(None) => return Err(format!("there is no image {name}; see 'oxikube image list'")),
                Ok(Some(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
            engine.remove_image(spec(&name)).await.map_err(|e| format!("cannot remove {name}: {e}"))?;
            Ok(Vec::new())
        }
    }
}

async fn list(engine: &dyn Local, wanted: impl Fn(&str) -> bool) -> Reply {
    let images = engine.list_images(None).await.map_err(|e| e.to_string())?;
    let lines = images.into_iter().filter(|i| wanted(&i.id));
    Ok(lines.map(|i| ImageLine { id: i.id, names: i.repo_tags, size: i.size }).collect())
}

/// Asks the running server.
pub(crate) async fn ask(socket: &Path, request: &Request) -> Result<Vec<ImageLine>, Problem> {
    let talk = async {
        let mut stream = UnixStream::connect(socket).await?;
        let mut text = serde_json::to_string(request).map_err(std::io::Error::other)?;
        text.push('\n');
        stream.write_all(text.as_bytes()).await?;
        let mut reply = String::new();
        BufReader::new(stream).read_line(&mut reply).await?;
        serde_json::from_str::<Reply>(&reply).map_err(std::io::Error::other)
    };
    let reply = tokio::time::timeout(Duration::from_secs(600), talk).await;
    let reply = reply.map_err(|_| Problem::new("the server did not answer within 10 minutes"))?;
    reply.during("cannot ask the server")?.map_err(Problem::new)
}
