//! Exec and attach.

use std::sync::Arc;

use cri::StdioRequest;
use cri::carry::{self, Begun, What};
use cri::v1::{ContainerFilter, ContainerState, ContainerStateValue};
use http::{Request, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use k8s_openapi::api::core::v1::Pod;

use super::Service;
use super::answer::{Answer, Refusal};
use super::route::{Target, flag, values};
use crate::container::labels;
use crate::spec;

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
    let begun = carry::command(Arc::clone(&service.context.engine), id, what, stdio, &mut request)?;
    Ok(service.carry(begun))
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

    /// Carries a session beside the request that it came by.
    pub(super) fn carry(&self, begun: Begun) -> Answer {
        self.spawn(begun.work);
        begun.answer.map(|empty| empty.map_err(|never| match never {}).boxed_unsync())
    }
}
