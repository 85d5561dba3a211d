//! Watch: changes as a stream of JSON lines.

use std::sync::Arc;
use std::time::Duration;

use api::ApiError;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use storage::{Event, ListOptions, ReadError, Revision, Watch};
use tokio::time::Instant;

use super::Object;
use super::list::{Selection, too_new};
use super::table::View;
use crate::body::{Body, BoxError, stream};
use crate::context::Context;
use crate::kind::Kind;
use crate::request::Query;
use crate::server::read_error;

/// How often a watcher that wants bookmarks gets one while nothing happens.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// A watch under way.
struct Watching {
    kind: Arc<Kind>,
    selection: Selection,
    view: View,
    watch: Watch,
    bookmarks: bool,
    /// Objects that are there already, still to be sent.
    initial: std::vec::IntoIter<Object>,
    /// The revision to mark the end of the initial objects with.
    initial_end: Option<Revision>,
    first: bool,
    ends: Instant,
    next_bookmark: Instant,
    stop: tokio_util::sync::CancellationToken,
}

impl Context {
    /// Starts a watch as the query asks; the stream ends at its timeout or when the server stops.
    pub(crate) async fn watch(&self, selection: Selection, query: &Query, view: View) -> Result<Body, ApiError> {
        let prefix = match selection.fields.required("metadata.name") {
            Some(name) if !self.kind.resource.namespaced() || !self.namespace.is_empty() => self.key(name),
            _ => self.kind.prefix_of(&self.namespace),
        };
        let initial_events = query.flag("sendInitialEvents");
        let from = match query.get("resourceVersion") {
            None | Some("0") => None,
            Some(text) => Some(Revision(text.parse().map_err(|_| {
                ApiError::bad_request(format!("Invalid value: \"{text}\": unable to parse resourceVersion"))
            })?)),
        };
        let store = &self.server.store;
        if let Some(from) = from {
            let current = store.current().await.map_err(read_error)?;
            if from > current {
                return Err(too_new(from, current));
            }
        }
        let asks_initial = initial_events || (from.is_none() && query.get("sendInitialEvents").is_none());
        let (initial, start) = match from {
            Some(from) if !initial_events => (Vec::new(), from),
            _ => {
                let page = store.list(ListOptions { prefix: &prefix, ..ListOptions::default() }).await;
                let page = page.map_err(read_error)?;
                let objects = page.entries.into_iter().map(Object::new).filter(|_| asks_initial).collect();
                (objects, page.revision)
            }
        };
        let watch = match store.watch(&prefix, start) {
            Ok(watch) => watch,
            // Clients look for this among the events and then list anew; an answer of 410 they would only repeat.
            Err(error @ ReadError::Compacted { .. }) => {
                return Ok(stream(futures::stream::iter([Ok::<_, BoxError>(error_event(error))])));
            }
            Err(error) => return Err(read_error(error)),
        };
        let seconds = query.get("timeoutSeconds").and_then(|t| t.parse::<u64>().ok()).filter(|t| *t > 0);
        let lasts = seconds.unwrap_or_else(|| rand::random_range(1800..3600));
        let bookmarks = query.flag("allowWatchBookmarks");
        let now = Instant::now();
        Ok(Watching {
            kind: self.kind.clone(),
            selection,
            view,
            watch,
            bookmarks,
            initial: initial.into_iter(),
            initial_end: (initial_events && bookmarks).then_some(start),
            first: true,
            ends: now + Duration::from_secs(lasts.min(86_400)),
            next_bookmark: now + BOOKMARK_EVERY,
            stop: self.server.stopping.clone(),
        }
        .into_body())
    }
}

impl Watching {
    fn into_body(self) -> Body {
        stream(futures::stream::unfold(Some(self), |watching| async move {
            let mut watching = watching?;
            match watching.next().await {
                Step::Send(bytes) => Some((Ok::<_, BoxError>(bytes), Some(watching))),
                Step::Last(bytes) => Some((Ok(bytes), None)),
                Step::End => None,
            }
        }))
    }

    async fn next(&mut self) -> Step {
        if let Some(bytes) = self.initial() {
            return Step::Send(bytes);
        }
        loop {
            let wake = if self.bookmarks { self.ends.min(self.next_bookmark) } else { self.ends };
            let changes = tokio::select! {
                () = self.stop.cancelled() => return Step::End,
                changes = self.watch.next() => changes,
                () = tokio::time::sleep_until(wake) => {
                    if Instant::now() >= self.ends {
                        return Step::End;
                    }
                    self.next_bookmark = Instant::now() + BOOKMARK_EVERY;
                    return Step::Send(self.bookmark(self.watch.position(), false));
                }
            };
            match changes {
                Ok(events) => {
                    let mut out = Vec::new();
                    for event in &events {
                        self.write_change(event, &mut out);
                    }
                    if !out.is_empty() {
                        return Step::Send(out.into());
                    }
                }
                Err(error) => return Step::Last(error_event(error)),
            }
        }
    }

    /// A chunk of the objects that were there at the start, then the bookmark after them.
    fn initial(&mut self) -> Option<Bytes> {
        let mut out = Vec::new();
        for object in self.initial.by_ref() {
            if self.selection.matches(&object, &self.kind) {
                write_event(&self.kind, self.view, &mut self.first, "ADDED", &object, &mut out);
            }
            if out.len() > 64 << 10 {
                return Some(out.into());
            }
        }
        if let Some(revision) = self.initial_end.take() {
            out.extend_from_slice(&self.bookmark(revision, true));
        }
        (!out.is_empty()).then(|| out.into())
    }

    fn write_change(&mut self, event: &Event, out: &mut Vec<u8>) {
        let shown = |entry: &Arc<storage::Entry>| Object { entry: entry.clone(), revision: event.revision };
        let (now, before) = (event.now.as_ref().map(shown), event.before.as_ref().map(shown));
        let selected = |o: &Option<Object>| o.as_ref().is_some_and(|o| self.selection.matches(o, &self.kind));
        let (kind, object) = match (selected(&before), selected(&now)) {
            (false, true) => ("ADDED", now),
            (true, true) => ("MODIFIED", now),
            (true, false) => ("DELETED", if now.is_some() && before.is_none() { now } else { before }),
            (false, false) => return,
        };
        if let Some(object) = object {
            write_event(&self.kind, self.view, &mut self.first, kind, &object, out);
        }
    }

    fn bookmark(&mut self, revision: Revision, initial_end: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_end {
            api::meta::put(&mut metadata, "annotations", json!({"k8s.io/initial-events-end": "true"}));
        }
        let plain = json!({
            "kind": &*self.kind.gvk.kind, "apiVersion": self.kind.gvk.gv.to_string(), "metadata": metadata,
        });
        let shown = self.view.bookmark(plain, &self.kind);
        format!("{}\n", json!({"type": "BOOKMARK", "object": shown})).into()
    }
}

fn error_event(error: ReadError) -> Bytes {
    let status = read_error(error).to_status();
    format!("{}\n", json!({"type": "ERROR", "object": status})).into()
}

enum Step {
    Send(Bytes),
    Last(Bytes),
    End,
}

fn write_event(kind: &Kind, view: View, first: &mut bool, what: &str, object: &Object, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(what.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    match view {
        View::Full if !kind.converts() => object.write_to(out),
        _ => {
            let tree = object.tree_for(kind).unwrap_or_else(|e| e.to_status());
            let shown: Value = view.event(&tree, kind, *first, Timestamp::now());
            out.extend_from_slice(shown.to_string().as_bytes());
        }
    }
    *first = false;
    out.extend_from_slice(b"}\n");
}
