//! The `scale` of whatever kind has one.

use client::write;
use k8s_openapi::api::autoscaling::v1::Scale;
use kube::core::GroupVersionKind;
use kube::discovery;

/// Path of the scale of an object, by its resource's plural as the apiserver tells it.
async fn path(
    client: &kube::Client,
    namespace: &str,
    api_version: &str,
    kind: &str,
    name: &str,
) -> kube::Result<Option<String>> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let (resource, capabilities) = match known(&GroupVersionKind::gvk(group, version, kind)) {
        Some(plural) => (plural.to_owned(), true),
        None => {
            let found = discovery::pinned_kind(client, &GroupVersionKind::gvk(group, version, kind)).await?;
            let scales = found.1.subresources.iter().any(|(resource, _)| resource.plural == "scale");
            (found.0.plural, scales)
        }
    };
    let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    Ok(capabilities.then(|| format!("{root}/namespaces/{namespace}/{resource}/{name}/scale")))
}

/// Kinds that need no discovery.
fn known(kind: &GroupVersionKind) -> Option<&'static str> {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "Deployment") => Some("deployments"),
        ("apps", "ReplicaSet") => Some("replicasets"),
        ("apps", "StatefulSet") => Some("statefulsets"),
        ("", "ReplicationController") => Some("replicationcontrollers"),
        _ => None,
    }
}

fn request(method: &str, path: &str, body: Vec<u8>) -> kube::Result<http::Request<Vec<u8>>> {
    let request = http::Request::builder().method(method).uri(path).header("content-type", "application/json");
    request.body(body).map_err(|error| kube::Error::BuildRequest(kube::core::request::Error::BuildRequest(error)))
}

/// The scale; none if the object, or its kind, has none.
pub(crate) async fn get(
    client: &kube::Client,
    namespace: &str,
    api_version: &str,
    kind: &str,
    name: &str,
) -> kube::Result<Option<Scale>> {
    let found = match path(client, namespace, api_version, kind, name).await {
        Ok(Some(path)) => client.request::<Scale>(request("GET", &path, Vec::new())?).await,
        Ok(None) => return Ok(None),
        Err(error) => Err(error),
    };
    match found {
        Err(error) if write::is_not_found(&error) => Ok(None),
        other => other.map(Some),
    }
}

/// Writes the scale that was read and changed.
pub(crate) async fn put(
    client: &kube::Client,
    namespace: &str,
    api_version: &str,
    kind: &str,
    scale: &Scale,
) -> kube::Result<()> {
    let name = scale.metadata.name.as_deref().unwrap_or_default();
    let Some(path) = path(client, namespace, api_version, kind, name).await? else { return Ok(()) };
    let body = serde_json::to_vec(scale).map_err(kube::Error::SerdeError)?;
    client.request::<Scale>(request("PUT", &path, body)?).await.map(drop)
}
