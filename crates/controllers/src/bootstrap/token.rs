//! When the Secret of a token is to go. Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

/// What is left of a token; none if it does not expire. One that cannot be read has expired.
pub(super) fn left(secret: &Secret, now: Timestamp) -> Option<Duration> {
    let text = std::str::from_utf8(&secret.data.as_ref()?.get("expiration")?.0).ok().filter(|text| !text.is_empty())?;
    let expires: Option<Timestamp> = text.parse().ok();
    Some(expires.and_then(|expires| Duration::try_from(expires.duration_since(now)).ok()).unwrap_or_default())
}
