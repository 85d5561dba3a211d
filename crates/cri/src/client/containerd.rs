//! What containerd offers beside CRI: its events, and the import of images.

use std::path::Path;
use std::process::Stdio;

use futures::StreamExt;
use futures::stream::BoxStream;
use http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic_prost::ProstCodec;

use super::Remote;
use crate::v1::ContainerEventType;
use crate::{CriError, ImageService};

/// Where CRI's containers are.
const NAMESPACE: &str = "k8s.io";

/// `containerd.services.events.v1.SubscribeRequest`
#[derive(Clone, PartialEq, Message)]
struct SubscribeRequest {
    #[prost(string, repeated, tag = "1")]
    filters: Vec<String>,
}

/// `containerd.services.events.v1.Envelope`
#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(string, tag = "2")]
    namespace: String,
    #[prost(string, tag = "3")]
    topic: String,
    #[prost(message, optional, tag = "4")]
    event: Option<prost_types::Any>,
}

/// `containerd.events.TaskStart`
#[derive(Clone, PartialEq, Message)]
struct TaskStart {
    #[prost(string, tag = "1")]
    container_id: String,
}

/// `containerd.events.TaskExit`, as far as it is of use.
#[derive(Clone, PartialEq, Message)]
struct TaskExit {
    #[prost(string, tag = "1")]
    container_id: String,
    #[prost(string, tag = "2")]
    id: String,
}

/// Something that happened to a container.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Happened {
    pub(super) container: String,
    pub(super) kind: ContainerEventType,
}

/// Starts and ends of tasks from now on.
pub(super) async fn subscribe(remote: &Remote) -> Result<BoxStream<'static, Result<Happened, CriError>>, CriError> {
    let mut grpc = Grpc::new(remote.channel.clone());
    let ready = grpc.ready().await;
    ready.map_err(|e| CriError::Unavailable(format!("{}: {e}", remote.socket.display())))?;
    let filters = ["start", "exit"].map(|what| format!("namespace==\"{NAMESPACE}\",topic==\"/tasks/{what}\"")).to_vec();
    let path = PathAndQuery::from_static("/containerd.services.events.v1.Events/Subscribe");
    let codec = ProstCodec::<SubscribeRequest, Envelope>::default();
    let request = tonic::Request::new(SubscribeRequest { filters });
    let stream = grpc.server_streaming(request, path, codec).await?.into_inner();
    let happened = stream.filter_map(async |envelope| match envelope {
        Ok(envelope) => read(&envelope).map(Ok),
        Err(status) => Some(Err(CriError::from(status))),
    });
    Ok(happened.boxed())
}

/// None for what is no container's: the ends of commands that were executed in one.
fn read(envelope: &Envelope) -> Option<Happened> {
    if envelope.namespace != NAMESPACE {
        return None;
    }
    let bytes = envelope.event.as_ref()?.value.as_slice();
    match envelope.topic.as_str() {
        "/tasks/exit" => {
            let exit = TaskExit::decode(bytes).ok()?;
            let kind = ContainerEventType::ContainerStoppedEvent;
            (exit.id == exit.container_id).then_some(Happened { container: exit.container_id, kind })
        }
        "/tasks/start" => {
            let start = TaskStart::decode(bytes).ok()?;
            Some(Happened { container: start.container_id, kind: ContainerEventType::ContainerStartedEvent })
        }
        _ => None,
    }
}

/// Hands the archive to containerd's own tool, which comes with it: the image service of CRI cannot import.
pub(super) async fn import(remote: &Remote, archive: &Path) -> Result<Vec<String>, CriError> {
    let failed = |text: String| CriError::Internal(text);
    let mut command = tokio::process::Command::new("ctr");
    command.arg("--address").arg(&remote.socket).args(["--namespace", NAMESPACE, "images", "import"]).arg(archive);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => failed(
            "importing into containerd takes its tool 'ctr', which is not installed; images can be pulled without"
                .to_owned(),
        ),
        _ => failed(format!("ctr: {e}")),
    })?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if !output.status.success() {
        return Err(failed(said(&output.stderr)));
    }
    let names: Vec<String> = said(&output.stdout).lines().filter_map(imported).collect();
    let mut ids = Vec::new();
    for name in names {
        ids.push(known(remote, &name).await?);
    }
    Ok(ids)
}

/// `unpacking NAME (sha256:...)...done`
fn imported(line: &str) -> Option<String> {
    line.strip_prefix("unpacking ")?.split(' ').next().map(str::to_owned)
}

/// The id of an image that was just imported: CRI's view of the images follows within moments.
async fn known(remote: &Remote, name: &str) -> Result<String, CriError> {
    for _ in 0..500 {
        let spec = crate::v1::ImageSpec { image: name.to_owned(), ..Default::default() };
        if let Some(image) = remote.image_status(spec).await? {
            return Ok(image.id);
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    Err(CriError::Internal(format!("{name} was imported, but the engine does not list it")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(topic: &str, event: &impl Message) -> Envelope {
        let event = prost_types::Any { type_url: "x".into(), value: event.encode_to_vec() };
        Envelope { namespace: NAMESPACE.into(), topic: topic.into(), event: Some(event) }
    }

    #[test]
    fn the_end_of_a_container_is_told_from_that_of_a_command_in_it() {
        let exit = |id: &str| TaskExit { container_id: "c".into(), id: id.into() };
        let end = read(&envelope("/tasks/exit", &exit("c"))).unwrap();
        assert_eq!((end.container.as_str(), end.kind), ("c", ContainerEventType::ContainerStoppedEvent));
        assert_eq!(read(&envelope("/tasks/exit", &exit("e1"))), None);
        let foreign = Envelope { namespace: "moby".into(), ..envelope("/tasks/exit", &exit("c")) };
        assert_eq!(read(&foreign), None);
    }

    #[test]
    fn the_tool_says_what_it_imported() {
        let line = "unpacking docker.io/library/nginx:latest (sha256:0a)...done";
        assert_eq!(imported(line).as_deref(), Some("docker.io/library/nginx:latest"));
        assert_eq!(imported("something else"), None);
    }
}
