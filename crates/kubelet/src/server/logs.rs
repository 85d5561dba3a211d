//! Logs of containers.

use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cri::v1::{ContainerFilter, ContainerState, ContainerStatus};
use futures::StreamExt;
use http::{StatusCode, Uri};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use nix::sys::inotify::AddWatchFlags;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Service;
use super::answer::{self, Answer, Refusal};
use super::files::{self, parse};
use super::route::{Target, flag, value};
use crate::changes::FileChanges;
use crate::container::labels;
use crate::context::Context;
use crate::spec;

/// Chunks that wait for a slow reader.
const CHUNKS: usize = 16;
/// A reader that takes nothing for so long is let go.
const STALLED: Duration = Duration::from_secs(300);

#[derive(Debug, Clone)]
struct Options {
    follow: bool,
    timestamps: bool,
    tail: Option<u64>,
    since: Option<Timestamp>,
    limit: Option<u64>,
    stream: Option<&'static str>,
}

fn options(uri: &Uri) -> Result<Options, Refusal> {
    let number = |name: &str| -> Result<Option<u64>, Refusal> {
        let invalid = |_| Refusal::bad(format!("invalid value for {name}"));
        value(uri, name).map(|text| text.parse().map_err(invalid)).transpose()
    };
    let since = match (number("sinceSeconds")?, value(uri, "sinceTime")) {
        (Some(seconds), _) => {
            let ago = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            Some(Timestamp::now().checked_sub(ago).unwrap_or(Timestamp::MIN))
        }
        (None, Some(time)) => Some(time.parse().map_err(|_| Refusal::bad("invalid value for sinceTime"))?),
        (None, None) => None,
    };
    let stream = match value(uri, "stream").as_deref() {
        Some("Stdout") => Some("stdout"),
        Some("Stderr") => Some("stderr"),
        _ => None,
    };
    Ok(Options {
        follow: flag(uri, "follow"),
        timestamps: flag(uri, "timestamps"),
        tail: number("tailLines")?,
        since,
        limit: number("limitBytes")?,
        stream,
    })
}

pub(super) async fn serve(service: &Arc<Service>, target: &Target, uri: &Uri) -> Result<Answer, Refusal> {
    let options = options(uri)?;
    let pod = service.find(target)?;
    let status = find(&service.context, &pod, &target.container, flag(uri, "previous")).await?;
    let path = PathBuf::from(&status.log_path);
    let (chunks, received) = mpsc::channel(CHUNKS);
    let reader = Reader { path, options, chunks, id: status.id, left: None };
    let (pods, context) = (Arc::clone(&service.pods), Arc::clone(&service.context));
    let shutdown = service.shutdown.clone();
    service.sessions.spawn(async move {
        let ended = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            ended = reader.run(&context, pods.engine_changes()) => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "log stream ended");
        }
    });
    let body = StreamBody::new(ReceiverStream::new(received).map(|chunk| Ok(Frame::data(chunk))));
    Ok(answer::stream(body.boxed_unsync()))
}

/// The attempt of the container whose log is meant.
async fn find(context: &Context, pod: &Pod, name: &str, previous: bool) -> Result<ContainerStatus, Refusal> {
    if spec::find(pod, name).is_none() {
        let message = format!("container \"{name}\" not found in pod \"{}\"", spec::name(pod));
        return Err(Refusal::new(StatusCode::NOT_FOUND, message));
    }
    let selector = [(labels::POD_UID, spec::uid(pod)), (labels::CONTAINER_NAME, name)];
    let label_selector = selector.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let filter = ContainerFilter { label_selector, ..Default::default() };
    let mut found = context.engine.list_containers(Some(filter)).await?;
    let attempt = |container: &cri::v1::Container| container.metadata.as_ref().map_or(0, |metadata| metadata.attempt);
    found.sort_by_key(|container| std::cmp::Reverse((attempt(container), container.created_at)));
    let mut begun = found.into_iter().filter(|found| found.state != ContainerState::ContainerCreated as i32);
    let chosen = if previous { begun.nth(1) } else { begun.next() };
    let Some(chosen) = chosen else {
        let pod_name = spec::name(pod);
        if previous {
            return Err(Refusal::bad(format!(
                "previous terminated container \"{name}\" in pod \"{pod_name}\" not found"
            )));
        }
        let reason = waiting_reason(pod, name);
        let message = format!("container \"{name}\" in pod \"{pod_name}\" is waiting to start: {reason}");
        return Err(Refusal::bad(message));
    };
    let answer = context.engine.container_status(&chosen.id).await?;
    answer.status.ok_or_else(|| Refusal::internal("engine has no status of the container"))
}

fn waiting_reason(pod: &Pod, name: &str) -> String {
    let status = pod.status.as_ref();
    let lists = status.map(|status| [&status.container_statuses, &status.init_container_statuses]);
    let mut all = lists.into_iter().flatten().flatten().flatten();
    let waiting = all.find(|status| status.name == name).and_then(|status| status.state.as_ref()?.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.clone()).unwrap_or_else(|| "ContainerCreating".to_owned());
    match reason.as_str() {
        "ErrImagePull" => "image can't be pulled".to_owned(),
        "ImagePullBackOff" => "trying and failing to pull image".to_owned(),
        _ => reason,
    }
}

struct Reader {
    path: PathBuf,
    options: Options,
    chunks: mpsc::Sender<Bytes>,
    id: String,
    /// Bytes that may still be sent.
    left: Option<u64>,
}

/// A place in a file.
struct Place {
    file: BufReader<std::fs::File>,
    /// A line that is not finished yet.
    begun: Vec<u8>,
    /// The line before goes on in this one.
    goes_on: bool,
}

impl Reader {
    async fn run(mut self, context: &Context, mut changes: tokio::sync::watch::Receiver<u64>) -> std::io::Result<()> {
        self.left = self.options.limit;
        let mut place = open(&self.path, self.options.tail)?;
        let mut watched = if self.options.follow { Some(watch(&self.path)?) } else { None };
        loop {
            if !self.send_all(&mut place).await? {
                return Ok(());
            }
            let Some(changed) = &watched else { return Ok(()) };
            // What was written between the last read and this question is read before the end.
            if !is_running(context, &self.id).await {
                self.send_all(&mut place).await?;
                return Ok(());
            }
            if was_rotated(&self.path, &place)? {
                self.send_all(&mut place).await?;
                // The watch is the old file's.
                watched = Some(watch(&self.path)?);
                place = open(&self.path, None)?;
                continue;
            }
            tokio::select! {
                ready = changed.next() => ready?,
                happened = changes.changed() => {
                    if happened.is_err() {
                        return Ok(());
                    }
                }
                () = self.chunks.closed() => return Ok(()),
            }
        }
    }

    /// Sends what is there. False when nobody wants more.
    async fn send_all(&mut self, place: &mut Place) -> std::io::Result<bool> {
        loop {
            let chunk = self.next_chunk(place)?;
            if chunk.is_empty() {
                return Ok(self.left != Some(0));
            }
            match tokio::time::timeout(STALLED, self.chunks.send(Bytes::from(chunk))).await {
                Ok(Ok(())) if self.left != Some(0) => {}
                _ => return Ok(false),
            }
        }
    }

    /// Up to 64 KiB of finished lines.
    fn next_chunk(&mut self, place: &mut Place) -> std::io::Result<Vec<u8>> {
        let mut chunk = Vec::new();
        while chunk.len() < 64 * 1024 && self.left != Some(0) {
            let read = place.file.read_until(b'\n', &mut place.begun)?;
            if read == 0 || !place.begun.ends_with(b"\n") {
                break;
            }
            let line = std::mem::take(&mut place.begun);
            let before = chunk.len();
            self.append(&line, &mut place.goes_on, &mut chunk);
            if let Some(left) = &mut self.left {
                let added = (chunk.len() - before) as u64;
                if added > *left {
                    chunk.truncate(before + usize::try_from(*left).unwrap_or(0));
                }
                *left = left.saturating_sub(added);
            }
        }
        Ok(chunk)
    }

    fn append(&self, line: &[u8], goes_on: &mut bool, chunk: &mut Vec<u8>) {
        let Some(line) = parse(line) else { return };
        if self.options.stream.is_some_and(|stream| stream != line.stream) {
            return;
        }
        if self.options.since.is_some_and(|since| line.at().is_some_and(|at| at < since)) {
            return;
        }
        if self.options.timestamps && !*goes_on {
            chunk.extend_from_slice(line.time.as_bytes());
            chunk.push(b' ');
        }
        chunk.extend_from_slice(&line.text);
        if !line.partial {
            chunk.push(b'\n');
        }
        *goes_on = line.partial;
    }
}

fn open(path: &Path, tail: Option<u64>) -> std::io::Result<Place> {
    let mut file = std::fs::File::open(path)?;
    let offset = match tail {
        Some(count) => files::tail_offset(&mut file, count)?,
        None => 0,
    };
    file.seek(SeekFrom::Start(offset))?;
    Ok(Place { file: BufReader::new(file), begun: Vec::new(), goes_on: false })
}

/// Told of writes to the file, and of another file in its place.
fn watch(path: &Path) -> std::io::Result<FileChanges> {
    let file = (path, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVE_SELF);
    match path.parent() {
        Some(folder) => FileChanges::of(&[file, (folder, AddWatchFlags::IN_CREATE)]),
        None => FileChanges::of(&[file]),
    }
}

fn was_rotated(path: &Path, place: &Place) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let open = place.file.get_ref().metadata()?;
    Ok(std::fs::metadata(path).is_ok_and(|present| present.ino() != open.ino()))
}

async fn is_running(context: &Context, id: &str) -> bool {
    let status = context.engine.container_status(id).await.ok().and_then(|answer| answer.status);
    status.is_some_and(|status| status.state == ContainerState::ContainerRunning as i32)
}
