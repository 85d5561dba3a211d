//! `metrics.k8s.io`: what nodes and pods use at present, from their kubelets.
//!
//! <https://kubernetes.io/docs/tasks/debug/debug-cluster/resource-metrics-pipeline/>. Nothing is asked until somebody
//! asks here; a rate is the difference to what was seen when somebody asked last.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::{ApiError, Quantity};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::context::Context;
use crate::handlers::Incoming;
use crate::registry::list::Selection;
use crate::request::{Query, ResourceRequest};
use crate::server::Server;
use crate::stream::{forward, kubelet};

pub(crate) const GROUP: &str = "metrics.k8s.io";
pub(crate) const VERSION: &str = "v1beta1";

/// What was seen longer ago says nothing about now.
const STALE: SignedDuration = SignedDuration::from_secs(120);
/// Two looks that are nearer make no rate.
const APART: Duration = Duration::from_millis(1000);
/// One kubelet may take so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// One summary is no larger.
const LARGEST: usize = 64 << 20;
/// Kubelets asked at once.
const PARALLEL: usize = 32;

/// A kubelet's figures of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Point {
    at: Timestamp,
    nanoseconds: u64,
    bytes: u64,
}

/// A node, or a container by namespace, pod and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Node(String),
    Container(String, String, String),
}

type Look = HashMap<Key, Point>;

/// What was seen last and before.
#[derive(Default)]
pub(crate) struct Figures {
    looks: Mutex<Looks>,
}

#[derive(Default)]
struct Looks {
    before: Look,
    last: Look,
    at: Option<Timestamp>,
}

/// What something uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Use {
    at: Timestamp,
    window: SignedDuration,
    nanocores: u64,
    bytes: u64,
}

/// Since an earlier point; none if that is another life, or no time has passed.
fn since(before: Point, now: Point) -> Option<Use> {
    let window = now.at.duration_since(before.at);
    let nanoseconds = u128::try_from(window.as_nanos()).ok().filter(|passed| *passed > 0)?;
    let used = u128::from(now.nanoseconds.checked_sub(before.nanoseconds)?);
    let nanocores = u64::try_from(used.saturating_mul(1_000_000_000) / nanoseconds).unwrap_or(u64::MAX);
    Some(Use { at: now.at, window, nanocores, bytes: now.bytes })
}

/// Answers a request of the group.
pub(crate) fn answer<'a>(
    context: &'a Context,
    request: &'a ResourceRequest,
    query: &'a Query,
) -> BoxFuture<'a, Result<Value, ApiError>> {
    answer_now(context, request, query).boxed()
}

async fn answer_now(context: &Context, request: &ResourceRequest, query: &Query) -> Result<Value, ApiError> {
    let nodes = match (request.resource.as_str(), request.verb) {
        ("nodes", "get" | "list") => true,
        ("pods", "get" | "list") => false,
        ("nodes" | "pods", verb) => return Err(ApiError::method_not_supported(GROUP, &request.resource, verb)),
        _ => return Err(ApiError::no_such_path()),
    };
    let uses = look(context).await?;
    let mut items = Vec::new();
    for object in context.select(&Selection::parse(query, &context.kind)?).await? {
        let object = object.tree()?;
        if !request.name.is_empty() && api::meta::name(&object) != request.name {
            continue;
        }
        items.extend(if nodes { node(&object, &uses) } else { pod(&object, &uses) });
    }
    let (kind, one) = if nodes { ("NodeMetrics", "nodemetrics") } else { ("PodMetrics", "podmetrics") };
    if !request.name.is_empty() {
        let name = if nodes { request.name.clone() } else { format!("{}/{}", request.namespace, request.name) };
        let found = items.into_iter().next().ok_or_else(|| ApiError::not_found(GROUP, one, &name))?;
        return Ok(typed(found, kind));
    }
    Ok(
        json!({"kind": format!("{kind}List"), "apiVersion": format!("{GROUP}/{VERSION}"), "metadata": {}, "items": items}),
    )
}

fn typed(mut object: Value, kind: &str) -> Value {
    api::meta::put(&mut object, "kind", kind);
    api::meta::put(&mut object, "apiVersion", format!("{GROUP}/{VERSION}"));
    object
}

fn usage(used: &Use) -> Value {
    let bytes = Quantity::units(i64::try_from(used.bytes).unwrap_or(i64::MAX));
    json!({"cpu": format!("{}n", used.nanocores), "memory": bytes.to_binary_string()})
}

fn described(object: &Value, used: &Use) -> Value {
    let mut metadata = json!({"name": api::meta::name(object), "creationTimestamp": api::time::seconds(used.at)});
    for field in ["namespace", "labels"] {
        if let Some(value) = api::meta::of(object).and_then(|metadata| metadata.get(field)) {
            api::meta::put(&mut metadata, field, value.clone());
        }
    }
    let window = format!("{}.{:03}s", used.window.as_secs(), used.window.subsec_millis());
    json!({"metadata": metadata, "timestamp": api::time::seconds(used.at), "window": window})
}

fn node(object: &Value, uses: &HashMap<Key, Use>) -> Option<Value> {
    let used = uses.get(&Key::Node(api::meta::name(object).to_owned()))?;
    let mut item = described(object, used);
    api::meta::put(&mut item, "usage", usage(used));
    Some(item)
}

/// Only a pod that runs and of whose every container something is known.
fn pod(object: &Value, uses: &HashMap<Key, Use>) -> Option<Value> {
    if api::meta::at(object, "/status/phase") != "Running" {
        return None;
    }
    let (namespace, name) = (api::meta::namespace(object), api::meta::name(object));
    let mut containers = Vec::new();
    let mut first: Option<&Use> = None;
    for container in object.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten() {
        let container = api::meta::at(container, "/name");
        let used = uses.get(&Key::Container(namespace.to_owned(), name.to_owned(), container.to_owned()))?;
        containers.push(json!({"name": container, "usage": usage(used)}));
        first = first.or(Some(used));
    }
    let mut item = described(object, first?);
    api::meta::put(&mut item, "containers", containers);
    Some(item)
}

/// What everything uses; looks again unless somebody has just looked, and twice if nobody has lately.
async fn look(context: &Context) -> Result<HashMap<Key, Use>, ApiError> {
    let mut looks = context.server.figures.looks.lock().await;
    let age = looks.at.map(|at| Timestamp::now().duration_since(at));
    match age {
        Some(age) if age.unsigned_abs() < APART => {}
        Some(age) if age < STALE => looks.turn(ask_all(context).await?),
        _ => {
            looks.turn(ask_all(context).await?);
            // A rate takes two looks.
            tokio::time::sleep(APART).await;
            looks.turn(ask_all(context).await?);
        }
    }
    let known = |(key, now): (&Key, &Point)| Some((key.clone(), since(*looks.before.get(key)?, *now)?));
    Ok(looks.last.iter().filter_map(known).collect())
}

impl Looks {
    fn turn(&mut self, look: Look) {
        self.before = std::mem::replace(&mut self.last, look);
        self.at = Some(Timestamp::now());
    }
}

async fn ask_all(context: &Context) -> Result<Look, ApiError> {
    let nodes = context.server.own("", "nodes", "")?.select(&Selection::default()).await?;
    let kind = context.server.kinds.own("", "nodes")?;
    let names = nodes.iter().map(|node| node.attributes(kind).name.to_string());
    let asked: Vec<BoxFuture<'_, Look>> = names.map(|name| ask(context, name).boxed()).collect();
    let answers: Vec<Look> = futures::stream::iter(asked).buffer_unordered(PARALLEL).collect().await;
    Ok(answers.into_iter().flatten().collect())
}

/// Of a kubelet that does not answer nothing is known.
async fn ask(context: &Context, node: String) -> Look {
    match tokio::time::timeout(PATIENCE, summary(context, &node)).await {
        Ok(Ok(summary)) => read(&node, &summary),
        Ok(Err(error)) => {
            tracing::debug!(node, %error, "no figures");
            Look::new()
        }
        Err(_) => {
            tracing::debug!(node, "no figures in time");
            Look::new()
        }
    }
}

async fn summary(context: &Context, node: &str) -> Result<Value, ApiError> {
    let server: &Arc<Server> = &context.server;
    let target = kubelet::target(context, node, "/stats/summary", "").await?;
    let request = Incoming {
        method: Method::GET,
        path: String::new(),
        query: Query::parse(None),
        raw_query: String::new(),
        headers: HeaderMap::new(),
        body: http_body_util::Empty::<Bytes>::new(),
        upgrade: None,
    };
    let answer = forward::forward(server, target, request).await?;
    if !answer.status().is_success() {
        return Err(ApiError::unavailable(format!("the kubelet of {node} answers {}", answer.status())));
    }
    let (mut body, mut bytes) = (answer.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ApiError::internal(error.to_string()))?;
        bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        if bytes.len() > LARGEST {
            return Err(ApiError::unavailable(format!("the kubelet of {node} says more than {LARGEST} bytes")));
        }
    }
    serde_json::from_slice(&bytes).map_err(ApiError::internal)
}

fn read(node: &str, summary: &Value) -> Look {
    let mut look = Look::new();
    if let Some(point) = summary.get("node").and_then(point) {
        look.insert(Key::Node(node.to_owned()), point);
    }
    for pod in summary.get("pods").and_then(Value::as_array).into_iter().flatten() {
        let text = |pointer: &str| api::meta::at(pod, pointer).to_owned();
        let (namespace, name) = (text("/podRef/namespace"), text("/podRef/name"));
        for container in pod.get("containers").and_then(Value::as_array).into_iter().flatten() {
            if let Some(point) = point(container) {
                let key = Key::Container(namespace.clone(), name.clone(), api::meta::at(container, "/name").to_owned());
                // Of several lives of a container the latest counts.
                let known = look.entry(key).or_insert(point);
                if point.at > known.at {
                    *known = point;
                }
            }
        }
    }
    look
}

fn point(figures: &Value) -> Option<Point> {
    Some(Point {
        at: api::meta::at(figures, "/cpu/time").parse().ok()?,
        nanoseconds: figures.pointer("/cpu/usageCoreNanoSeconds").and_then(Value::as_u64)?,
        bytes: figures.pointer("/memory/workingSetBytes").and_then(Value::as_u64)?,
    })
}
