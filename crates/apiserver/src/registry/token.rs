//! Continue tokens: where the next page of a list starts, and of which revision it is.

use std::fmt;

use api::ApiError;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use storage::Revision;

/// So long the pages of a list are of one revision, as long as upstream's store keeps old revisions at least.
const LIFE: SignedDuration = SignedDuration::from_mins(5);
/// Upstream's number for "whatever is there now".
const NOW: i64 = -1;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Token {
    v: String,
    rv: i64,
    start: String,
    /// When the first page was read, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    t: Option<i64>,
}

impl Token {
    pub(super) fn new(revision: Revision, after: &str, since: Timestamp) -> Self {
        let rv = i64::try_from(revision.0).unwrap_or(NOW);
        Self { v: "meta.k8s.io/v1".to_owned(), rv, start: format!("{after}\u{0}"), t: Some(since.as_second()) }
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
        let token: Self = serde_json::from_slice(&bytes).ok()?;
        let outside = token.start.contains("..") || token.start.starts_with('/');
        (!outside && token.rv >= NOW).then_some(token)
    }

    /// None is the present.
    pub(super) fn revision(&self) -> Option<Revision> {
        u64::try_from(self.rv).ok().map(Revision)
    }

    /// The key before the page, without the collection's prefix.
    pub(super) fn after(&self) -> &str {
        self.start.trim_end_matches('\u{0}')
    }

    /// When the first page of this revision was read.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.revision().and(self.t).and_then(|seconds| Timestamp::from_second(seconds).ok())
    }

    pub(super) fn is_too_old(&self, now: Timestamp) -> bool {
        self.since().is_some_and(|since| now.duration_since(since) > LIFE)
    }

    /// The rest can be had as it is now, which the client has to want.
    pub(super) fn expired(&self) -> ApiError {
        let rest = Self { v: self.v.clone(), rv: NOW, start: self.start.clone(), t: None };
        let mut error = ApiError::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list \
             without the continue parameter, or use the continue token in this response to retrieve the remainder of \
             the results. Continuing with the provided token results in an inconsistent list - objects that were \
             created, modified, or deleted between the time the first chunk was returned and now may show up in the \
             list.",
        );
        error.next = Some(rest.to_string().into());
        error
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(&URL_SAFE_NO_PAD.encode(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_too_old_leads_to_one_for_the_present() {
        let began = Timestamp::from_second(1_000_000).unwrap();
        let token = Token::read(&Token::new(Revision(7), "default/a", began).to_string()).unwrap();
        assert_eq!((token.revision(), token.after(), token.since()), (Some(Revision(7)), "default/a", Some(began)));
        let minutes = |count| began.checked_add(SignedDuration::from_mins(count)).unwrap();
        assert!(!token.is_too_old(minutes(5)));
        assert!(token.is_too_old(minutes(6)));
        let error = token.expired();
        assert_eq!((error.code, error.reason), (410, "Expired"));
        let status = error.to_status();
        let rest = Token::read(status.pointer("/metadata/continue").unwrap().as_str().unwrap()).unwrap();
        assert_eq!((rest.revision(), rest.after(), rest.is_too_old(minutes(60))), (None, "default/a", false));
    }

    #[test]
    fn nonsense_is_no_token() {
        assert!(Token::read("garbage").is_none());
        let outside = URL_SAFE_NO_PAD.encode(r#"{"v": "meta.k8s.io/v1", "rv": 1, "start": "../secrets"}"#);
        assert!(Token::read(&outside).is_none());
    }
}
