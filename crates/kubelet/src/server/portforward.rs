//! Port-forward.

use std::collections::HashMap;
use std::sync::Arc;

use cri::carry;
use cri::v1::PodSandboxFilter;
use http::Request;
use hyper::body::Incoming;
use k8s_openapi::api::core::v1::Pod;

use super::Service;
use super::answer::{Answer, Refusal};
use super::route::Target;
use crate::container::labels;
use crate::spec;

pub(super) async fn serve(
    service: Arc<Service>,
    target: &Target,
    mut request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let pod = service.find(target)?;
    let sandbox = sandbox(&service, &pod).await?;
    let begun = carry::forward(Arc::clone(&service.context.engine), sandbox, &mut request)?;
    Ok(service.carry(begun))
}

async fn sandbox(service: &Service, pod: &Pod) -> Result<String, Refusal> {
    let label_selector = HashMap::from([(labels::POD_UID.to_owned(), spec::uid(pod).to_owned())]);
    let filter = PodSandboxFilter { label_selector, ..Default::default() };
    let mut found = service.context.engine.list_pod_sandbox(Some(filter)).await?;
    found.sort_by_key(|sandbox| std::cmp::Reverse(sandbox.created_at));
    let found = found.into_iter().next();
    found.map(|sandbox| sandbox.id).ok_or_else(|| Refusal::internal("the pod has no sandbox"))
}
