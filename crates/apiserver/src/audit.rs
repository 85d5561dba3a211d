//! The audit log: one JSON line a request, at the level `Metadata`.
//!
//! <https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/>. Lines wait in a bounded queue; when the disk cannot keep up, lines
//! are dropped and counted rather than requests held up.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use api::ApiError;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::sync::mpsc;

use crate::context::User;
use crate::request::RequestInfo;

/// Lines that may wait.
const QUEUE: usize = 8192;

/// Takes lines for the log.
#[derive(Default)]
pub(crate) struct Audit {
    queue: Option<mpsc::Sender<String>>,
    dropped: AtomicU64,
}

/// What a request was, kept until it is answered.
pub(crate) struct Record {
    received: Timestamp,
    uri: String,
    agent: String,
    info: RequestInfo,
}

impl Audit {
    /// Appends to a file; without one nothing is written.
    pub(crate) fn to(path: Option<&Path>) -> Result<Self, ApiError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let opened = std::fs::File::options().create(true).append(true).open(path);
        let file =
            opened.map_err(|e| ApiError::internal(format!("cannot open the audit log {}: {e}", path.display())))?;
        let (queue, lines) = mpsc::channel(QUEUE);
        tokio::spawn(write(File::from_std(file), lines));
        Ok(Self { queue: Some(queue), dropped: AtomicU64::new(0) })
    }

    /// Starts a record, if there is a log.
    pub(crate) fn begin(&self, info: &RequestInfo, uri: &str, agent: &str) -> Option<Record> {
        self.queue.as_ref()?;
        Some(Record { received: Timestamp::now(), uri: uri.to_owned(), agent: agent.to_owned(), info: info.clone() })
    }

    /// Writes a record.
    pub(crate) fn end(&self, record: &Record, user: Option<&User>, code: u16) {
        let Some(queue) = &self.queue else { return };
        if queue.try_send(record.line(user, code)).is_err() {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed);
            if dropped.is_power_of_two() || dropped == 0 {
                tracing::warn!(dropped = dropped + 1, "audit lines were dropped");
            }
        }
    }
}

impl Record {
    fn line(&self, user: Option<&User>, code: u16) -> String {
        let user = user.map_or_else(|| json!({}), crate::rest::review::user_info);
        let mut event = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata",
            "auditID": uuid::Uuid::new_v4().to_string(), "stage": "ResponseComplete",
            "requestURI": self.uri, "user": user, "userAgent": self.agent,
            "responseStatus": {"metadata": {}, "code": code},
            "requestReceivedTimestamp": api::time::micros(self.received),
            "stageTimestamp": api::time::micros(Timestamp::now()),
        });
        match &self.info {
            RequestInfo::Path { verb, .. } => api::meta::put(&mut event, "verb", *verb),
            RequestInfo::Resource(r) => {
                api::meta::put(&mut event, "verb", r.verb);
                let parts = [
                    ("resource", &r.resource),
                    ("namespace", &r.namespace),
                    ("name", &r.name),
                    ("apiGroup", &r.group),
                    ("apiVersion", &r.version),
                    ("subresource", &r.subresource),
                ];
                let object = parts.into_iter().filter(|(_, v)| !v.is_empty());
                let object: serde_json::Map<String, Value> =
                    object.map(|(k, v)| (k.to_owned(), v.as_str().into())).collect();
                api::meta::put(&mut event, "objectRef", object);
            }
        }
        let mut line = event.to_string();
        line.push('\n');
        line
    }
}

async fn write(file: File, mut lines: mpsc::Receiver<String>) {
    let mut file = BufWriter::new(file);
    while let Some(line) = lines.recv().await {
        let mut result = file.write_all(line.as_bytes()).await;
        while let Ok(line) = lines.try_recv() {
            result = result.and(file.write_all(line.as_bytes()).await);
        }
        if let Err(error) = result.and(file.flush().await) {
            return tracing::error!(%error, "the audit log cannot be written, it ends here");
        }
    }
}
