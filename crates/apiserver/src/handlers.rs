//! From a request to its answer: the order of section "path of a write", request side.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use api::ApiError;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use serde_json::{Value, json};

use crate::authn;
use crate::authz;
use crate::body::{self, Answer, BoxError};
use crate::context::{Context, User};
use crate::health;
use crate::negotiate;
use crate::registry::create::Written;
use crate::registry::delete::{DeleteOptions, Deleted};
use crate::registry::list::{Selection, list_body, list_metadata};
use crate::registry::patch::PatchType;
use crate::registry::table::View;
use crate::registry::{Object, Options};
use crate::request::{Query, RequestInfo, ResourceRequest};
use crate::rest;
use crate::server::Server;
use crate::stream;

/// How long a request waits for its turn before it is sent away.
const TURN: Duration = Duration::from_secs(10);

/// A request taken apart.
pub(crate) struct Incoming<B> {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) raw_query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: B,
    pub(crate) upgrade: Option<hyper::upgrade::OnUpgrade>,
}

impl<B> Incoming<B> {
    fn without_body(self) -> Incoming<()> {
        let Self { method, path, query, raw_query, headers, upgrade, .. } = self;
        Incoming { method, path, query, raw_query, headers, body: (), upgrade }
    }
}

/// Answers a request. Never fails: errors become statuses.
pub(crate) async fn handle<B>(server: Arc<Server>, request: Request<B>) -> Answer
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let (mut parts, body) = request.into_parts();
    let body = body::Shared::new(body);
    let rest = body.another();
    let incoming = Incoming {
        upgrade: parts.extensions.remove::<hyper::upgrade::OnUpgrade>(),
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: Query::parse(parts.uri.query()),
        raw_query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body,
    };
    let info = RequestInfo::parse(&incoming.method, &incoming.path, &incoming.query);
    let (verb, resource) = match &info {
        RequestInfo::Resource(r) => (r.verb, r.resource.clone()),
        RequestInfo::Path { verb, .. } => (*verb, String::new()),
    };
    let agent = incoming.headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let record = server.audit.begin(&info, &parts.uri.to_string(), agent);
    let (user, answer) = match authn::authenticate(&server, &parts.extensions, &incoming.headers).await {
        Err(error) => (None, Err(error)),
        Ok(user) => (record.is_some().then(|| user.clone()), authorized(&server, user, info, incoming).await),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            rest.drain().await;
            body::error(&error)
        }
    };
    if let Some(record) = record {
        server.audit.end(&record, user.as_ref(), answer.status().as_u16());
    }
    let known = server.kinds.knows(&resource);
    server.metrics.count(verb, if known { &resource } else { "" }, answer.status().as_u16());
    answer
}

async fn authorized<B>(
    server: &Arc<Server>,
    user: User,
    info: RequestInfo,
    incoming: Incoming<B>,
) -> Result<Answer, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    authz::authorize(server, &user, &named(&info, &incoming.query)).await?;
    match info {
        RequestInfo::Path { verb, path } => answer_path(server, verb, &path, incoming.without_body()).await,
        RequestInfo::Resource(request) => {
            let long = request.verb == "watch" || stream::is_stream(&request);
            let _turn = if long { None } else { Some(turn(server, request.verb, &user).await?) };
            resource(server, user, request, incoming).await
        }
    }
}

/// A list or watch of one name, by field selector, is authorized as that name.
fn named(info: &RequestInfo, query: &Query) -> RequestInfo {
    let mut info = info.clone();
    if let RequestInfo::Resource(r) = &mut info
        && matches!(r.verb, "list" | "watch")
        && let Some(selector) = query.get("fieldSelector")
        && let Ok(selector) = api::selector::FieldSelector::parse(selector)
        && let Some(name) = selector.required("metadata.name")
    {
        r.name = name.to_owned();
    }
    info
}

/// Waits for a place among the requests in flight.
async fn turn<'a>(
    server: &'a Server,
    verb: &str,
    user: &User,
) -> Result<Option<tokio::sync::SemaphorePermit<'a>>, ApiError> {
    if user.in_group("system:masters") {
        return Ok(None);
    }
    let places = if matches!(verb, "get" | "list") { &server.reads } else { &server.writes };
    match tokio::time::timeout(TURN, places.acquire()).await {
        Ok(Ok(permit)) => Ok(Some(permit)),
        _ => Err(ApiError::too_many_requests("Too many requests, please try again later.", 1)),
    }
}

async fn answer_path(server: &Arc<Server>, verb: &str, path: &str, incoming: Incoming<()>) -> Result<Answer, ApiError> {
    if !matches!(verb, "get" | "head") {
        return Err(ApiError::no_such_path());
    }
    let accept = incoming.headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if let Some((value, content_type)) = crate::discovery::answer(path, accept) {
        let mut answer = body::json(StatusCode::OK, &value);
        answer.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
        answer.headers_mut().append(header::VARY, http::HeaderValue::from_static("Accept"));
        return Ok(compressed(answer, &incoming.headers));
    }
    if let Some(answer) = crate::openapi::answer(server, path, &incoming.query, accept) {
        return Ok(compressed(answer?, &incoming.headers));
    }
    match path.trim_end_matches('/') {
        "/version" => Ok(body::json(StatusCode::OK, &health::version())),
        "/metrics" => Ok(body::text(StatusCode::OK, server.metrics.render())),
        "/openid/v1/jwks" => Ok(health::keys(server)),
        "/.well-known/openid-configuration" => Ok(body::json(StatusCode::OK, &health::openid(server))),
        "" => Ok(body::json(StatusCode::OK, &health::paths())),
        path => health::answer(server, path, incoming.query.has("verbose")).await.ok_or_else(ApiError::no_such_path),
    }
}

/// Compresses an answer whose body is at hand and large, where the client can take it.
fn compressed(answer: Answer, headers: &HeaderMap) -> Answer {
    let accepts =
        headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("gzip"));
    if accepts { crate::compress::gzip(answer) } else { answer }
}

async fn resource<B>(
    server: &Arc<Server>,
    user: User,
    request: ResourceRequest,
    incoming: Incoming<B>,
) -> Result<Answer, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    if request.group == rest::figures::GROUP && request.version == rest::figures::VERSION {
        return figures(server, user, &request, &incoming.query).await;
    }
    let kind = server.kinds.find(&request.group, &request.version, &request.resource);
    let kind = kind.ok_or_else(ApiError::no_such_path)?.clone();
    let agent = incoming.headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let options = Options::parse(&incoming.query, agent, request.verb)?;
    for (what, text) in [("Name", &request.name), ("Namespace", &request.namespace)] {
        if let Err(why) = api::names::path_segment(text) {
            return Err(ApiError::bad_request(format!("{what} parameter invalid: {text:?}: {why}")));
        }
    }
    let scoped = kind.resource.namespaced();
    let namespace = if scoped { request.namespace.as_str() } else { "" };
    let context = Context::new(server.clone(), user, kind, namespace, options).subresource(&request.subresource);
    if !request.subresource.is_empty() && context.kind.resource.subresource(&request.subresource).is_none() {
        return Err(ApiError::no_such_path());
    }
    if stream::is_stream(&request) {
        return stream::answer(&context, &request, incoming).await;
    }
    let headers = incoming.headers.clone();
    let answer = dispatch(&context, &request, incoming).await;
    let mut answer = answer?;
    for warning in context.take_warnings() {
        body::warn(&mut answer, &warning);
    }
    Ok(if request.verb == "list" { compressed(answer, &headers) } else { answer })
}

/// What nodes and pods use at present: of the objects that are selected.
async fn figures(
    server: &Arc<Server>,
    user: User,
    request: &ResourceRequest,
    query: &Query,
) -> Result<Answer, ApiError> {
    let kind = server.kinds.find("", "v1", &request.resource).ok_or_else(ApiError::no_such_path)?.clone();
    let namespace = if kind.resource.namespaced() { request.namespace.as_str() } else { "" };
    let context = Context::new(server.clone(), user, kind, namespace, Options::default());
    Ok(body::json(StatusCode::OK, &rest::figures::answer(&context, request, query).await?))
}

async fn dispatch<B>(context: &Context, request: &ResourceRequest, incoming: Incoming<B>) -> Result<Answer, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let view = negotiate::view(&incoming.headers, &incoming.query)?;
    let resource = context.kind.resource;
    if !request.subresource.is_empty() || !resource.verbs.list().contains(&request.verb) {
        return special(context, request, incoming, view).await;
    }
    if resource.verbs == api::catalogue::Verbs::CreateOnly {
        negotiate::plain(&incoming.headers)?;
        return question(context, request, incoming).await;
    }
    let (name, query) = (request.name.as_str(), &incoming.query);
    match request.verb {
        "get" => one(context, &context.current(name).await?, view),
        "list" => {
            let listed = context.list(&Selection::parse(query, &context.kind)?, query).await?;
            match view {
                View::Full => Ok(body::json_bytes(StatusCode::OK, list_body(context.kind.clone(), listed))),
                view => Ok(body::json(StatusCode::OK, &view.list(&listed, &context.kind)?)),
            }
        }
        "watch" => {
            let watch = context.watch(Selection::parse(query, &context.kind)?, query, view).await?;
            Ok(body::json_bytes(StatusCode::OK, watch))
        }
        "create" => {
            if !name.is_empty() || resource.namespaced() && context.namespace.is_empty() {
                return Err(ApiError::method_not_supported(resource.group, resource.plural, "create"));
            }
            let body = read_strictly(context, incoming).await?;
            written(context, context.create(body).await?, view)
        }
        "update" | "patch" if name.is_empty() => {
            Err(ApiError::method_not_supported(resource.group, resource.plural, request.verb))
        }
        "update" => written(context, context.update(name, read_strictly(context, incoming).await?).await?, view),
        "patch" => {
            let (how, patch) = read_patch(incoming).await?;
            written(context, context.patch(name, how, patch).await?, view)
        }
        "delete" => delete(context, name, incoming, view).await,
        "deletecollection" => delete_collection(context, incoming).await,
        verb => Err(ApiError::method_not_supported(resource.group, resource.plural, verb)),
    }
}

async fn delete<B>(context: &Context, name: &str, incoming: Incoming<B>, view: View) -> Result<Answer, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let options = read_delete_options(context, incoming).await?;
    let (context, options) = options;
    match context.delete(name, &options).await? {
        Deleted::Gone(tree) if context.kind.resource.returns_deleted() => {
            written(&context, Written { tree, object: None, created: false }, view)
        }
        Deleted::Gone(last) => {
            let resource = context.kind.resource;
            let status = api::status::success(resource.group, resource.plural, name, api::meta::uid(&last));
            Ok(body::json(StatusCode::OK, &status))
        }
        Deleted::Pending(pending) => written(&context, pending, view),
    }
}

async fn delete_collection<B>(context: &Context, incoming: Incoming<B>) -> Result<Answer, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let listed = context.list(&Selection::parse(&incoming.query, &context.kind)?, &incoming.query).await?;
    let (context, options) = read_delete_options(context, incoming).await?;
    let mut items = context.delete_listed(&listed, &options).await?;
    if context.kind.converts() {
        items.iter_mut().for_each(|i| kinds::convert(i, &context.kind.storage_gvk, &context.kind.gvk));
    }
    let list = json!({
        "kind": format!("{}List", context.kind.gvk.kind), "apiVersion": context.kind.gvk.gv.to_string(),
        "metadata": list_metadata(&listed), "items": items,
    });
    Ok(body::json(StatusCode::OK, &list))
}

/// Delete options come in the body or in the query.
async fn read_delete_options<B>(context: &Context, incoming: Incoming<B>) -> Result<(Context, DeleteOptions), ApiError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let Incoming { query, headers, body, .. } = incoming;
    let bytes = body::read(body).await?;
    let mut options: DeleteOptions = if bytes.is_empty() {
        DeleteOptions::default()
    } else {
        serde_json::from_value(negotiate::decode(&headers, &bytes)?)
            .map_err(|e| ApiError::bad_request(format!("the delete options cannot be read: {e}")))?
    };
    if options.grace_period_seconds.is_none() {
        options.grace_period_seconds = query.number("gracePeriodSeconds")?;
    }
    if options.propagation_policy.is_none() {
        options.propagation_policy = query.get("propagationPolicy").map(str::to_owned);
    }
    let mut again = context.on(&context.kind, &context.namespace);
    again.options.dry_run |= options.dry_run.as_ref().is_some_and(|d| !d.is_empty());
    Ok((again, options))
}

pub(crate) async fn read_object<B>(incoming: Incoming<B>) -> Result<Value, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let bytes = body::read(incoming.body).await?;
    negotiate::decode(&incoming.headers, &bytes)
}

/// An object to be stored; fields that are there twice are told, or refused, as the client asks.
async fn read_strictly<B>(context: &Context, incoming: Incoming<B>) -> Result<Value, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let bytes = body::read(incoming.body).await?;
    let (object, twice) = negotiate::decode_strictly(&incoming.headers, &bytes)?;
    context.note_duplicates(twice);
    Ok(object)
}

async fn read_patch<B>(incoming: Incoming<B>) -> Result<(PatchType, Value), ApiError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let content_type = incoming.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let how = PatchType::parse(content_type)?;
    let bytes = body::read(incoming.body).await?;
    let patch = match how {
        PatchType::Apply => negotiate::yaml(&bytes)?,
        _ => serde_json::from_slice(&bytes).map_err(|e| ApiError::bad_request(format!("error decoding patch: {e}")))?,
    };
    Ok((how, patch))
}

fn one(context: &Context, object: &Object, view: View) -> Result<Answer, ApiError> {
    match view {
        View::Full => Ok(body::json_bytes(StatusCode::OK, pieces(object.pieces_for(&context.kind)?))),
        view => Ok(body::json(StatusCode::OK, &view.one(&object.tree_for(&context.kind)?, &context.kind))),
    }
}

/// A body of shared pieces: nothing is copied.
fn pieces(pieces: [Bytes; 3]) -> body::Body {
    body::stream(futures::stream::iter(pieces.into_iter().filter(|p| !p.is_empty()).map(Ok)))
}

fn written(context: &Context, written: Written, view: View) -> Result<Answer, ApiError> {
    let mut tree = written.tree;
    if context.kind.converts() {
        kinds::convert(&mut tree, &context.kind.storage_gvk, &context.kind.gvk);
    }
    let code = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(match (view, written.object) {
        (View::Full, Some(object)) if !context.kind.converts() => body::json_bytes(code, pieces(object.pieces())),
        (View::Full, _) => body::json(code, &tree),
        (view, _) => body::json(code, &view.one(&tree, &context.kind)),
    })
}

/// Reviews and bindings: posted, answered, not stored.
async fn question<B>(context: &Context, request: &ResourceRequest, incoming: Incoming<B>) -> Result<Answer, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let body = read_object(incoming).await?;
    if request.resource == "bindings" {
        let pods = context.on(context.server.kinds.own("", "pods")?, &context.namespace).subresource("binding");
        rest::pod::bind(&pods, api::meta::name(&body), &body).await?;
        return Ok(created_status());
    }
    let kind = context.kind.resource.kind;
    let mut answer = context.admit_body(body)?;
    answer = match kind {
        "TokenReview" => rest::token::review(context, answer).await?,
        _ => rest::review::answer(context, kind, answer).await?,
    };
    Ok(body::json(StatusCode::CREATED, &answer))
}

fn created_status() -> Answer {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    body::json(StatusCode::CREATED, &status)
}

/// Subresources.
async fn special<B>(
    context: &Context,
    request: &ResourceRequest,
    incoming: Incoming<B>,
    view: View,
) -> Result<Answer, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let name = request.name.as_str();
    match (request.subresource.as_str(), request.verb) {
        ("status" | "approval" | "ephemeralcontainers" | "resize", "get") => {
            one(context, &context.current(name).await?, view)
        }
        ("status" | "approval" | "ephemeralcontainers" | "resize" | "finalize", "update") => {
            written(context, context.update(name, read_object(incoming).await?).await?, view)
        }
        ("status" | "approval" | "ephemeralcontainers" | "resize", "patch") => {
            let (how, patch) = read_patch(incoming).await?;
            written(context, context.patch(name, how, patch).await?, view)
        }
        ("scale", "get") => Ok(body::json(StatusCode::OK, &rest::scale::of(&context.current(name).await?.tree()?))),
        ("scale", "update") => {
            let scale = read_object(incoming).await?;
            let written = rest::scale::change(context, name, |_| Ok(scale.clone())).await?;
            Ok(body::json(StatusCode::OK, &rest::scale::of(&written.tree)))
        }
        ("scale", "patch") => {
            let (how, patch) = read_patch(incoming).await?;
            let written = rest::scale::change(context, name, |s| rest::scale::patched(s, how, &patch)).await?;
            Ok(body::json(StatusCode::OK, &rest::scale::of(&written.tree)))
        }
        ("binding", "create") => {
            rest::pod::bind(context, name, &read_object(incoming).await?).await?;
            Ok(created_status())
        }
        ("eviction", "create") => {
            let eviction = read_object(incoming).await?;
            let pods = context.on(&context.kind, &context.namespace);
            let status = rest::eviction::evict(&pods, name, &eviction).await?;
            Ok(body::json(StatusCode::CREATED, &status))
        }
        ("token", "create") => {
            let token = rest::token::request(context, name, read_object(incoming).await?).await?;
            Ok(body::json(StatusCode::CREATED, &token))
        }
        (_, verb) => {
            Err(ApiError::method_not_supported(context.kind.resource.group, context.kind.resource.plural, verb))
        }
    }
}

impl Server {
    /// Whether the objects of the first start are there.
    pub(crate) fn is_bootstrapped(&self) -> bool {
        self.bootstrapped.load(Ordering::Acquire)
    }
}
