//! A bootstrap token, as its Secret says it. Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

pub(super) const TYPE: &str = "bootstrap.kubernetes.io/token";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) id: String,
    pub(super) secret: String,
    expires: Option<Timestamp>,
}

fn text<'a>(secret: &'a Secret, field: &str) -> Option<&'a str> {
    std::str::from_utf8(&secret.data.as_ref()?.get(field)?.0).ok().filter(|text| !text.is_empty())
}

/// What is left of a token; none if it does not expire. One that cannot be read has expired.
pub(super) fn left(secret: &Secret, now: Timestamp) -> Option<Duration> {
    let expires: Option<Timestamp> = text(secret, "expiration")?.parse().ok();
    Some(expires.map_or(Duration::ZERO, |expires| until(expires, now)))
}

fn until(expires: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(expires.duration_since(now)).unwrap_or_default()
}

impl Token {
    /// A token that may sign.
    pub(super) fn of(secret: &Secret) -> Option<Self> {
        let id = text(secret, "token-id")?;
        let named = secret.metadata.name.as_deref() == Some(format!("bootstrap-token-{id}").as_str());
        if !named || text(secret, "usage-bootstrap-signing") != Some("true") {
            return None;
        }
        let expires = match text(secret, "expiration") {
            Some(expires) => Some(expires.parse().ok()?),
            None => None,
        };
        Some(Self { id: id.to_owned(), secret: text(secret, "token-secret")?.to_owned(), expires })
    }

    pub(super) fn left(&self, now: Timestamp) -> Option<Duration> {
        self.expires.map(|expires| until(expires, now))
    }
}
