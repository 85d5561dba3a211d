//! Why something is not as it should be: the blocking cause in plain words, with a remedy. Each file is one kind; all of
//! it is pure, on objects that were read with the caller's rights.

pub(crate) mod claim;
pub(crate) mod namespace;
pub(crate) mod node;
pub(crate) mod pod;
pub(crate) mod service;
pub(crate) mod workload;

use k8s_openapi::api::core::v1::Event;
use serde::Serialize;

/// The answer to a `why`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Answer {
    /// What was asked about, as `pod/web`.
    pub(crate) subject: String,
    /// Nothing is wrong.
    pub(crate) healthy: bool,
    /// The cause in one sentence.
    pub(crate) cause: String,
    /// More of it, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) details: Vec<String>,
    /// What to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) remedy: String,
}

impl Answer {
    pub(crate) fn healthy(cause: impl Into<String>) -> Self {
        Self { healthy: true, cause: cause.into(), ..Self::default() }
    }

    pub(crate) fn blocked(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { cause: cause.into(), remedy: remedy.into(), ..Self::default() }
    }

    pub(crate) fn with(mut self, details: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(details);
        self
    }

    /// As text for people.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![format!("{}: {}", self.subject, self.cause)];
        lines.extend(self.details.iter().map(|detail| format!("  {detail}")));
        if !self.remedy.is_empty() {
            lines.push(format!("what to do: {}", self.remedy));
        }
        lines.join("\n")
    }
}

/// The newest warning about an object.
pub(crate) fn last_warning<'a>(events: &'a [Event], kind: &str, name: &str) -> Option<&'a Event> {
    let about = |event: &&Event| {
        let object = &event.involved_object;
        object.kind.as_deref() == Some(kind) && object.name.as_deref() == Some(name)
    };
    let warnings = events.iter().filter(about).filter(|event| event.type_.as_deref() == Some("Warning"));
    warnings.max_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0))
}

/// `reason: message` of an event.
pub(crate) fn told(event: &Event) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    format!("{}: {}", text(&event.reason), text(&event.message))
}
