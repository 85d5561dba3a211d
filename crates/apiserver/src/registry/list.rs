//! List: selection, pages, and the text of the answer.

use std::sync::Arc;

use api::ApiError;
use api::field::FieldError;
use api::selector::{FieldSelector, LabelSelector};
use bytes::Bytes;
use serde_json::{Value, json};
use storage::{ListOptions, ReadError, Revision};

use super::Object;
use super::token::Token;
use crate::body::{Body, BoxError, stream};
use crate::context::Context;
use crate::kind::Kind;
use crate::request::Query;
use crate::server::read_error;

/// Which objects of a collection are meant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
}

impl Selection {
    pub(crate) fn parse(query: &Query, kind: &Kind) -> Result<Self, ApiError> {
        let labels = LabelSelector::parse(query.get("labelSelector").unwrap_or_default())
            .map_err(|e| ApiError::bad_request(format!("unable to parse requirement: {e}")))?;
        let fields = FieldSelector::parse(query.get("fieldSelector").unwrap_or_default())
            .map_err(|e| ApiError::bad_request(e.to_string()))?;
        for (field, _, _) in &fields.terms {
            let known = field == "metadata.name"
                || field == "metadata.namespace"
                || kind.rules.fields.iter().any(|(name, _)| name == field);
            if !known {
                let why = format!("field label not supported: {field}");
                return Err(ApiError::bad_request(format!(
                    "Unable to find \"{}\" that match label selector \"{}\", field selector \"{}\": {why}",
                    kind.gvk,
                    query.get("labelSelector").unwrap_or_default(),
                    query.get("fieldSelector").unwrap_or_default(),
                )));
            }
        }
        Ok(Self { labels, fields })
    }

    pub(crate) fn everything(&self) -> bool {
        self.labels.is_empty() && self.fields.terms.is_empty()
    }

    pub(crate) fn matches(&self, object: &Object, kind: &Kind) -> bool {
        if self.everything() {
            return true;
        }
        let attributes = object.attributes(kind);
        self.labels.matches_by(|key| attributes.label(key)) && self.fields.matches_by(|key| attributes.field(key))
    }
}

/// A page of objects.
pub(crate) struct Listed {
    pub(crate) objects: Vec<Object>,
    pub(crate) revision: Revision,
    pub(crate) next: Option<String>,
    pub(crate) remaining: Option<usize>,
}

/// Where a page starts.
#[derive(Default)]
struct Position {
    at: Option<Revision>,
    after: Option<String>,
    /// What the client went on with.
    token: Option<Token>,
}

impl Context {
    /// Everything selected, as of now.
    pub(crate) async fn select(&self, selection: &Selection) -> Result<Vec<Object>, ApiError> {
        self.list(selection, &Query::default()).await.map(|l| l.objects)
    }

    /// A page, as `limit`, `continue`, `resourceVersion` and `resourceVersionMatch` ask.
    pub(crate) async fn list(&self, selection: &Selection, query: &Query) -> Result<Listed, ApiError> {
        let prefix = self.kind.prefix_of(&self.namespace);
        let limit = query.number("limit")?.map_or(0, |l| usize::try_from(l).unwrap_or(0));
        let Position { at, after, token } = self.position(query, &prefix).await?;
        let store = &self.server.store;
        if let Some(name) = selection.fields.required("metadata.name").filter(|_| at.is_none() && after.is_none())
            && (!self.kind.resource.namespaced() || !self.namespace.is_empty())
        {
            let revision = store.current().await.map_err(read_error)?;
            let entry = store.get(&self.key(name)).await.map_err(read_error)?;
            let found = entry.map(Object::new).filter(|o| selection.matches(o, &self.kind));
            return Ok(Listed { objects: found.into_iter().collect(), revision, next: None, remaining: None });
        }
        let mut objects = Vec::new();
        let mut position = after;
        let mut revision = at;
        loop {
            let options = ListOptions { prefix: &prefix, after: position.as_deref(), at: revision, limit };
            let page = store.list(options).await.map_err(|error| match (&token, error) {
                (Some(token), ReadError::Compacted { .. }) => token.expired(),
                (_, error) => read_error(error),
            })?;
            revision = Some(page.revision);
            let mut remaining = page.remaining + page.entries.len();
            for entry in page.entries {
                remaining -= 1;
                position = Some(entry.key.as_str().to_owned());
                let object = Object::new(entry);
                if selection.matches(&object, &self.kind) {
                    objects.push(object);
                }
                if limit > 0 && objects.len() == limit {
                    break;
                }
            }
            if remaining == 0 || (limit > 0 && objects.len() >= limit) {
                let start = position.as_deref().and_then(|p| p.strip_prefix(&*prefix)).filter(|_| remaining > 0);
                let since = token.and_then(|token| token.since()).unwrap_or(self.now);
                let next = start.map(|start| Token::new(page.revision, start, since).to_string());
                let remaining = next.as_ref().filter(|_| selection.everything()).map(|_| remaining);
                return Ok(Listed { objects, revision: page.revision, next, remaining });
            }
        }
    }

    /// Revision and key that the page starts from.
    async fn position(&self, query: &Query, prefix: &str) -> Result<Position, ApiError> {
        let exact = query.get("resourceVersionMatch");
        let revision = match query.get("resourceVersion") {
            None | Some("0") => None,
            Some(text) => Some(Revision(text.parse().map_err(|_| {
                ApiError::bad_request(format!(
                    "resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax"
                ))
            })?)),
        };
        if let Some(token) = query.get("continue") {
            if query.get("resourceVersion").is_some_and(|v| v != "0") {
                return Err(ApiError::bad_request("specifying resource version is not allowed when using continue"));
            }
            let token = Token::read(token).ok_or_else(|| ApiError::bad_request("continue key is not valid"))?;
            if token.is_too_old(self.now) {
                return Err(token.expired());
            }
            let after = Some(format!("{prefix}{}", token.after()));
            return Ok(Position { at: token.revision(), after, token: Some(token) });
        }
        let field = "resourceVersionMatch";
        let start = |at| Position { at, ..Position::default() };
        let refuse = |error| Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", &[error]));
        match (exact, revision) {
            (Some("Exact" | "NotOlderThan"), _) if query.get("resourceVersion").is_none() => {
                let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                refuse(FieldError::forbidden(field, why))
            }
            (Some("Exact"), Some(revision)) => self.not_older_than(revision).await.map(|()| start(Some(revision))),
            (Some("Exact"), None) => {
                let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                refuse(FieldError::forbidden(field, why))
            }
            (Some("NotOlderThan") | None, Some(revision)) => self.not_older_than(revision).await.map(|()| start(None)),
            (Some("NotOlderThan") | None, None) => Ok(start(None)),
            (Some(other), _) => refuse(FieldError::not_supported(field, &other.into(), &["Exact", "NotOlderThan", ""])),
        }
    }

    async fn not_older_than(&self, revision: Revision) -> Result<(), ApiError> {
        let current = self.server.store.current().await.map_err(read_error)?;
        if revision > current { Err(too_new(revision, current)) } else { Ok(()) }
    }
}

/// The error for a revision that has not happened yet, which client-go retries.
pub(crate) fn too_new(asked: Revision, current: Revision) -> ApiError {
    let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
    let mut error = ApiError::timeout(message);
    error.details = Some(Box::new(json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    })));
    error
}

/// Metadata of a list.
pub(crate) fn list_metadata(listed: &Listed) -> Value {
    let mut metadata = json!({"resourceVersion": listed.revision.to_string()});
    if let Some(map) = metadata.as_object_mut() {
        if let Some(next) = &listed.next {
            map.insert("continue".into(), next.as_str().into());
        }
        if let Some(remaining) = listed.remaining {
            map.insert("remainingItemCount".into(), remaining.into());
        }
    }
    metadata
}

/// Size of the chunks that a list is sent in.
const CHUNK: usize = 128 << 10;

/// The text of a list, made while it is sent: what waits for a slow client are shared entries, not copies.
pub(crate) fn list_body(kind: Arc<Kind>, listed: Listed) -> Body {
    let head = format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{},\"items\":[",
        kind.gvk.kind,
        kind.gvk.gv,
        list_metadata(&listed)
    );
    let state = (head.into_bytes(), listed.objects.into_iter(), true, false);
    stream(futures::stream::unfold(state, move |(mut chunk, mut objects, mut first, done)| {
        let kind = kind.clone();
        async move {
            if done {
                return None;
            }
            chunk.reserve(CHUNK);
            let mut finished = true;
            for object in objects.by_ref() {
                if !first {
                    chunk.push(b',');
                }
                first = false;
                if kind.converts() {
                    match object.pieces_for(&kind) {
                        Ok(pieces) => pieces.iter().for_each(|p| chunk.extend_from_slice(p)),
                        Err(error) => return Some((Err(BoxError::from(error)), (Vec::new(), objects, first, true))),
                    }
                } else {
                    object.write_to(&mut chunk);
                }
                if chunk.len() >= CHUNK {
                    finished = false;
                    break;
                }
            }
            if finished {
                chunk.extend_from_slice(b"]}\n");
            }
            Some((Ok(Bytes::from(chunk)), (Vec::new(), objects, first, finished)))
        }
    }))
}
