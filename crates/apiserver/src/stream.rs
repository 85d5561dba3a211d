//! Requests that are passed on to a kubelet, a pod or a service: logs, exec, attach, port-forward, proxy.

pub(crate) mod forward;
pub(crate) mod kubelet;
mod websocket;

use std::time::Duration;

use api::ApiError;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::Value;

use crate::body::{Answer, BoxError};
use crate::context::Context;
use crate::handlers::Incoming;
use crate::request::{Query, ResourceRequest};
use forward::Target;

/// Whether a request is passed on.
pub(crate) fn is_stream(r: &ResourceRequest) -> bool {
    r.group.is_empty()
        && match r.resource.as_str() {
            "pods" => matches!(r.subresource.as_str(), "log" | "exec" | "attach" | "portforward" | "proxy"),
            "nodes" | "services" => r.subresource == "proxy",
            _ => false,
        }
}

/// Passes a request on and its answer back.
pub(crate) async fn answer<B>(
    context: &Context,
    r: &ResourceRequest,
    mut incoming: Incoming<B>,
) -> Result<Answer, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    if let Some(answer) = redirect(r, &incoming) {
        return Ok(answer);
    }
    let target = match (r.resource.as_str(), r.subresource.as_str()) {
        ("nodes", _) => node(context, &r.name, &r.rest, &incoming.raw_query).await?,
        ("services", _) => service(context, &r.name, &r.rest, &incoming.raw_query).await?,
        ("pods", "proxy") => pod(context, &r.name, &r.rest, &incoming.raw_query).await?,
        (_, what) => container(context, &r.name, what, &incoming.query, &incoming.raw_query).await?,
    };
    if r.subresource != "log" {
        return forward::forward(&context.server, target, incoming).await;
    }
    // A kubelet gives logs in plain answers only.
    let wish = websocket::take(&mut incoming)?;
    let answer = forward::forward(&context.server, target, incoming).await?;
    match wish {
        _ if !answer.status().is_success() => Err(refused(answer).await),
        Some(wish) => Ok(websocket::answer(&context.server, wish, answer)),
        None => Ok(answer),
    }
}

/// A page that is asked for without a slash is at the place with one: what it links to would not be found otherwise.
fn redirect<B>(r: &ResourceRequest, incoming: &Incoming<B>) -> Option<Answer> {
    let plain = !incoming.headers.contains_key(http::header::UPGRADE);
    let read = matches!(incoming.method, http::Method::GET | http::Method::HEAD);
    if r.subresource != "proxy" || !r.rest.is_empty() || !plain || !read {
        return None;
    }
    let query = if incoming.raw_query.is_empty() { String::new() } else { format!("?{}", incoming.raw_query) };
    let place = http::HeaderValue::try_from(format!("{}/{query}", incoming.path)).ok()?;
    let mut answer = Answer::new(crate::body::full(Bytes::new()));
    *answer.status_mut() = StatusCode::MOVED_PERMANENTLY;
    answer.headers_mut().insert(http::header::LOCATION, place);
    Some(answer)
}

/// What a kubelet refused with in plain text, as the API tells it.
async fn refused(answer: Answer) -> ApiError {
    const LONGEST: usize = 2048;
    const SLOWEST: Duration = Duration::from_secs(10);
    let (parts, mut body) = answer.into_parts();
    let mut text = Vec::new();
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(SLOWEST, body.frame()).await {
        text.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        if text.len() > LONGEST {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    match parts.status {
        StatusCode::NOT_FOUND => ApiError::new(404, "NotFound", text),
        status if status.is_client_error() => ApiError::bad_request(text),
        _ => ApiError::internal(text),
    }
}

/// The kubelet's door for a container of a pod.
async fn container(
    context: &Context,
    name: &str,
    what: &str,
    query: &Query,
    raw_query: &str,
) -> Result<Target, ApiError> {
    let pod = context.current(name).await?.tree()?;
    let node = api::meta::at(&pod, "/spec/nodeName");
    if node.is_empty() {
        return Err(ApiError::bad_request(if what == "log" {
            return Err(not_started(&pod, name));
        } else {
            format!("pod {name} does not have a host assigned")
        }));
    }
    let container = match query.get("container") {
        Some(container) => checked_container(&pod, name, container)?,
        None if what == "portforward" => String::new(),
        None => default_container(&pod, name)?,
    };
    let (door, tail) = match what {
        "log" => ("containerLogs", format!("/{container}")),
        "exec" => ("exec", format!("/{container}")),
        "attach" => ("attach", format!("/{container}")),
        _ => ("portForward", String::new()),
    };
    let path = format!("/{door}/{}/{name}{tail}", context.namespace);
    let query = kubelet_query(what, raw_query);
    kubelet::target(context, node, &path, &query).await
}

fn not_started(pod: &Value, name: &str) -> ApiError {
    let container = pod.pointer("/spec/containers/0/name").and_then(Value::as_str).unwrap_or_default();
    let mut error = ApiError::bad_request(format!(
        "container \"{container}\" in pod \"{name}\" is waiting to start: no host assigned"
    ));
    error.code = 400;
    error
}

/// Upstream's kubelet calls some parameters otherwise.
fn kubelet_query(what: &str, query: &str) -> String {
    let keep = query.split('&').filter(|p| !p.is_empty() && !p.starts_with("container="));
    let rename = |p: &str| match p.split_once('=') {
        Some(("stdin", v)) => format!("input={}", flag(v)),
        Some(("stdout", v)) => format!("output={}", flag(v)),
        Some(("stderr", v)) => format!("error={}", flag(v)),
        Some(("tty", v)) => format!("tty={}", flag(v)),
        Some(("ports", v)) => format!("port={v}"),
        _ => p.to_owned(),
    };
    match what {
        "log" => keep.map(str::to_owned).collect::<Vec<_>>().join("&"),
        _ => keep.map(rename).collect::<Vec<_>>().join("&"),
    }
}

fn flag(value: &str) -> &'static str {
    if matches!(value, "true" | "1") { "1" } else { "0" }
}

fn containers(pod: &Value) -> impl Iterator<Item = &str> {
    ["containers", "initContainers", "ephemeralContainers"]
        .into_iter()
        .filter_map(|list| pod.get("spec")?.get(list)?.as_array())
        .flatten()
        .filter_map(|c| c.get("name")?.as_str())
}

fn checked_container(pod: &Value, name: &str, container: &str) -> Result<String, ApiError> {
    if containers(pod).any(|c| c == container) {
        Ok(container.to_owned())
    } else {
        Err(ApiError::bad_request(format!("container {container} is not valid for pod {name}")))
    }
}

fn default_container(pod: &Value, name: &str) -> Result<String, ApiError> {
    let list: Vec<&str> = pod
        .pointer("/spec/containers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|c| c.get("name")?.as_str())
        .collect();
    match list.as_slice() {
        [one] => Ok((*one).to_owned()),
        many => Err(ApiError::bad_request(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            many.join(" ")
        ))),
    }
}

async fn node(context: &Context, name: &str, rest: &str, query: &str) -> Result<Target, ApiError> {
    let (node, _port) = split_port(name);
    let rest = if rest.is_empty() { "/" } else { rest };
    kubelet::target(context, node, rest, query).await
}

/// `[scheme:]name[:port]`
fn split_port(name: &str) -> (&str, Option<&str>) {
    let name = name.strip_prefix("http:").or_else(|| name.strip_prefix("https:")).unwrap_or(name);
    match name.split_once(':') {
        Some((name, port)) if !port.is_empty() => (name, Some(port)),
        Some((name, _)) => (name, None),
        None => (name, None),
    }
}

async fn pod(context: &Context, name: &str, rest: &str, query: &str) -> Result<Target, ApiError> {
    let (name, port) = split_port(name);
    let pod = context.current(name).await?.tree()?;
    let ip = api::meta::at(&pod, "/status/podIP");
    if ip.is_empty() {
        return Err(ApiError::unavailable("address not allowed"));
    }
    let named = |wanted: &str| {
        let containers = pod.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten();
        containers
            .filter_map(|c| c.get("ports")?.as_array())
            .flatten()
            .find(|p| p.get("name").is_some_and(|n| n == wanted))
            .and_then(|p| p.get("containerPort")?.as_u64())
    };
    let first = pod.pointer("/spec/containers/0/ports/0/containerPort").and_then(Value::as_u64);
    let port = match port {
        Some(port) => port.parse::<u64>().ok().or_else(|| named(port)),
        None => first.or(Some(80)),
    };
    let port = port.and_then(|p| u16::try_from(p).ok()).ok_or_else(|| ApiError::unavailable("no such port"))?;
    Ok(Target::plain(ip, port, rest, query))
}

async fn service(context: &Context, name: &str, rest: &str, query: &str) -> Result<Target, ApiError> {
    let (name, port) = split_port(name);
    let service = context.current(name).await?.tree()?;
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    let chosen = ports.into_iter().find(|p| match port {
        None => true,
        Some(wanted) => {
            p.get("name").is_some_and(|n| n == wanted) || p.get("port").and_then(Value::as_u64) == wanted.parse().ok()
        }
    });
    let port_name = chosen.map(|p| api::meta::at(p, "/name").to_owned());
    let port_name = port_name.ok_or_else(|| {
        ApiError::unavailable(format!("no service port {} found for service \"{name}\"", port.unwrap_or_default()))
    })?;
    let slices = context.server.own("discovery.k8s.io", "endpointslices", &context.namespace)?;
    for object in slices.select(&crate::registry::list::Selection::default()).await? {
        let slice = object.tree()?;
        if api::meta::label(&slice, "kubernetes.io/service-name") != Some(name) {
            continue;
        }
        if let Some((address, port)) = ready_endpoint(&slice, &port_name) {
            return Ok(Target::plain(&address, port, rest, query));
        }
    }
    Err(ApiError::unavailable(format!("no endpoints available for service \"{name}\"")))
}

fn ready_endpoint(slice: &Value, port_name: &str) -> Option<(String, u16)> {
    let ports = slice.get("ports")?.as_array()?;
    let port = ports.iter().find(|p| api::meta::at(p, "/name") == port_name)?.get("port")?.as_u64()?;
    let ready: Vec<&str> = slice
        .get("endpoints")?
        .as_array()?
        .iter()
        .filter(|e| e.pointer("/conditions/ready") != Some(&Value::Bool(false)))
        .filter_map(|e| e.pointer("/addresses/0")?.as_str())
        .collect();
    let index = rand::random_range(0..ready.len().max(1));
    Some(((*ready.get(index)?).to_owned(), u16::try_from(port).ok()?))
}
