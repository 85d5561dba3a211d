//! As much of an API server as a kubelet needs, in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};

type Key = (String, String, String);
type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

#[derive(Clone)]
pub struct ApiServer {
    state: Arc<Mutex<State>>,
    events: broadcast::Sender<(Key, Value)>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<Key, Value>,
    revision: u64,
}

impl Default for ApiServer {
    fn default() -> Self {
        Self { state: Arc::default(), events: broadcast::Sender::new(4096), changes: watch::Sender::new(0) }
    }
}

/// What a path names.
struct Target {
    resource: String,
    namespace: String,
    name: String,
    sub: String,
}

fn target(path: &str) -> Target {
    let mut parts = path.trim_start_matches('/').split('/').map(str::to_owned);
    let skip = if parts.next().as_deref() == Some("api") { 1 } else { 2 };
    let mut parts = parts.skip(skip).peekable();
    let mut namespace = String::new();
    if parts.peek().map(String::as_str) == Some("namespaces") {
        parts.next();
        namespace = parts.next().unwrap_or_default();
    }
    let mut next = || parts.next().unwrap_or_default();
    Target { namespace, resource: next(), name: next(), sub: next() }
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let pair = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")))?;
    Some(pair.replace("%3D", "=").replace("%2F", "/"))
}

fn matches(object: &Value, selector: Option<&str>) -> bool {
    let Some((field, wanted)) = selector.and_then(|selector| selector.split_once('=')) else { return true };
    object.pointer(&format!("/{}", field.replace('.', "/"))).and_then(Value::as_str) == Some(wanted)
}

fn answer(status: StatusCode, value: &Value) -> Answer {
    let body = Full::new(Bytes::from(value.to_string())).map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(status).header("content-type", "application/json").body(body).unwrap()
}

fn failure(status: StatusCode, reason: &str) -> Answer {
    let code = status.as_u16();
    answer(
        status,
        &json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason, "reason": reason, "code": code}),
    )
}

/// A merge by type or address where a strategic merge patch does so, else as a JSON merge patch.
fn merge(to: &mut Value, patch: &Value) {
    match (to, patch) {
        (Value::Object(to), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    to.remove(key);
                } else {
                    merge(to.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (Value::Array(to), Value::Array(patch))
            if patch.iter().all(|e| e.get("type").is_some() || e.get("ip").is_some()) =>
        {
            let key = if patch.iter().any(|entry| entry.get("type").is_some()) { "type" } else { "ip" };
            for entry in patch {
                let at = to.iter().position(|old| old[key] == entry[key]);
                match (at, entry.get("$patch")) {
                    (Some(at), Some(_)) => drop(to.remove(at)),
                    (Some(at), None) => merge(&mut to[at], entry),
                    (None, _) => to.push(entry.clone()),
                }
            }
        }
        (to, patch) => {
            let list = patch.as_array().cloned().unwrap_or_default();
            let rest: Vec<Value> = list.into_iter().filter(|entry| entry.get("$patch").is_none()).collect();
            *to = if patch.is_array() { Value::Array(rest) } else { patch.clone() };
            if to.is_object() {
                let patch = std::mem::replace(to, json!({}));
                merge(to, &patch);
            }
        }
    }
}

impl ApiServer {
    pub fn client(&self) -> kube::Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, std::convert::Infallible>(server.serve(request).await) }
        });
        client::connect::local(service, "kubelet")
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        self.state.lock().unwrap().objects.get(&key).cloned()
    }

    pub fn put(&self, resource: &str, namespace: &str, object: Value) -> Value {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.write((resource.to_owned(), namespace.to_owned(), name), object)
    }

    /// Reasons and messages of events.
    pub fn events(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let mut events: Vec<(u64, String)> = state
            .objects
            .iter()
            .filter(|((resource, ..), _)| resource == "events")
            .map(|(_, event)| {
                let text = format!("{}: {}", event["reason"].as_str().unwrap(), event["message"].as_str().unwrap());
                (event["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap(), text)
            })
            .collect();
        events.sort();
        events.into_iter().map(|(_, text)| text).collect()
    }

    /// As a user's delete with a grace period.
    pub fn delete(&self, name: &str, seconds: i64) {
        let mut pod = self.get("pods", "ns", name).unwrap();
        pod["metadata"]["deletionTimestamp"] = json!(jiff::Timestamp::now().to_string());
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(seconds);
        self.put("pods", "ns", pod);
    }

    /// As a user's delete without grace.
    pub fn remove_pod(&self, name: &str) {
        self.remove(&("pods".into(), "ns".into(), name.into()));
    }

    fn write(&self, key: Key, mut object: Value) -> Value {
        let mut state = self.state.lock().unwrap();
        state.revision += 1;
        object["metadata"]["resourceVersion"] = json!(state.revision.to_string());
        if !key.1.is_empty() {
            object["metadata"]["namespace"] = json!(key.1);
        }
        let known = state.objects.insert(key.clone(), object.clone()).is_some();
        let kind = if known { "MODIFIED" } else { "ADDED" };
        self.tell(key, json!({"type": kind, "object": object}), state.revision);
        object
    }

    fn remove(&self, key: &Key) -> Option<Value> {
        let mut state = self.state.lock().unwrap();
        let mut object = state.objects.remove(key)?;
        state.revision += 1;
        object["metadata"]["resourceVersion"] = json!(state.revision.to_string());
        self.tell(key.clone(), json!({"type": "DELETED", "object": object}), state.revision);
        Some(object)
    }

    fn tell(&self, key: Key, event: Value, revision: u64) {
        if self.events.send((key, event)).is_err() {
            // Nobody watches.
        }
        self.changes.send_replace(revision);
    }

    async fn serve(&self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let target = target(parts.uri.path());
        let query = parts.uri.query().unwrap_or_default();
        if target.name.is_empty() && parts.method == Method::GET {
            let selector = parameter(query, "fieldSelector");
            return match query.contains("watch=true") {
                true => self.watch(&target, selector, query),
                false => self.list(&target, selector),
            };
        }
        let mut name = target.name.clone();
        if name.is_empty() {
            name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        }
        let key = (target.resource.clone(), target.namespace.clone(), name);
        self.one(&parts.method, &target, key, body)
    }

    fn one(&self, method: &Method, target: &Target, key: Key, body: Value) -> Answer {
        let found = self.state.lock().unwrap().objects.get(&key).cloned();
        match (method.as_str(), target.resource.as_str(), target.sub.as_str(), found) {
            ("POST", "subjectaccessreviews", ..) => {
                let allowed = body["spec"]["user"] != "nobody";
                answer(
                    StatusCode::CREATED,
                    &json!({"metadata": {}, "spec": body["spec"], "status": {"allowed": allowed}}),
                )
            }
            ("POST", "tokenreviews", ..) => {
                let token = body["spec"]["token"].as_str().unwrap_or_default();
                let user = token.strip_prefix("token-of-");
                let status = json!({"authenticated": user.is_some(), "user": {"username": user}});
                answer(StatusCode::CREATED, &json!({"metadata": {}, "spec": body["spec"], "status": status}))
            }
            ("POST", "serviceaccounts", "token", _) => {
                let until = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
                let status = json!({"token": format!("token for {}", key.2), "expirationTimestamp": until.to_string()});
                answer(StatusCode::CREATED, &json!({"metadata": {}, "spec": body["spec"], "status": status}))
            }
            ("POST", .., Some(_)) => failure(StatusCode::CONFLICT, "AlreadyExists"),
            ("POST", .., None) => answer(StatusCode::CREATED, &self.write(key, body)),
            (.., None) => failure(StatusCode::NOT_FOUND, "NotFound"),
            ("GET", .., Some(object)) => answer(StatusCode::OK, &object),
            ("PUT", .., Some(_)) => answer(StatusCode::OK, &self.write(key, body)),
            ("PATCH", .., Some(mut object)) => {
                merge(&mut object, &body);
                answer(StatusCode::OK, &self.write(key, object))
            }
            ("DELETE", .., Some(_)) => answer(StatusCode::OK, &self.remove(&key).unwrap_or_default()),
            _ => failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        }
    }

    fn list(&self, target: &Target, selector: Option<String>) -> Answer {
        let state = self.state.lock().unwrap();
        let items: Vec<&Value> = state
            .objects
            .iter()
            .filter(|(key, object)| target.covers(key) && matches(object, selector.as_deref()))
            .map(|(_, object)| object)
            .collect();
        let meta = json!({"resourceVersion": state.revision.to_string()});
        answer(StatusCode::OK, &json!({"kind": "List", "apiVersion": "v1", "metadata": meta, "items": items}))
    }

    fn watch(&self, target: &Target, selector: Option<String>, query: &str) -> Answer {
        let since: u64 = parameter(query, "resourceVersion").and_then(|since| since.parse().ok()).unwrap_or(0);
        // Subscribed under the lock, so that what is newer than the list is either here or comes.
        let state = self.state.lock().unwrap();
        let events = self.events.subscribe();
        let version = |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
        let missed: Vec<(Key, Value)> = state
            .objects
            .iter()
            .filter(|(_, object)| version(object) > since)
            .map(|(key, object)| (key.clone(), json!({"type": "MODIFIED", "object": object})))
            .collect();
        drop(state);
        let later = tokio_stream::wrappers::BroadcastStream::new(events).filter_map(|event| async { event.ok() });
        let target =
            Target { resource: target.resource.clone(), namespace: target.namespace.clone(), ..Target::none() };
        let lines = futures::stream::iter(missed).chain(later).filter_map(move |(key, event)| {
            let wanted = target.covers(&key) && matches(&event["object"], selector.as_deref());
            let line = wanted.then(|| Ok(Frame::data(Bytes::from(format!("{event}\n")))));
            async move { line }
        });
        Response::new(StreamBody::new(lines).boxed_unsync())
    }
}

impl Target {
    fn none() -> Self {
        Self { resource: String::new(), namespace: String::new(), name: String::new(), sub: String::new() }
    }

    fn covers(&self, key: &Key) -> bool {
        key.0 == self.resource && (self.namespace.is_empty() || key.1 == self.namespace)
    }
}
