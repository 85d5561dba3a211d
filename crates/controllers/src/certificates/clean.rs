//! How long a request stays. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use super::{condition, has_certificate};

const DECIDED: SignedDuration = SignedDuration::from_hours(1);
const PENDING: SignedDuration = SignedDuration::from_hours(24);

/// What is left until the request is cleared away.
pub(super) fn left(request: &CertificateSigningRequest, now: Timestamp) -> Duration {
    let created = request.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    let decided =
        ["Denied", "Failed", "Approved"].iter().filter_map(|kind| condition(request, kind)).find_map(|found| {
            // An approved one waits for its certificate as long as for a decision.
            let waits = found.type_ == "Approved" && !has_certificate(request);
            let since = found.last_update_time.as_ref().or(found.last_transition_time.as_ref())?.0;
            Some((since, if waits { PENDING } else { DECIDED }))
        });
    let (since, stays) = decided.unwrap_or((created, PENDING));
    let end = since.checked_add(stays).unwrap_or(now);
    Duration::try_from(end.duration_since(now)).unwrap_or_default()
}
