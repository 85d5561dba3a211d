//! What the record of an election says, and what follows from it. Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use tokio::time::Instant;

use super::Election;

/// What a candidate may do.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// The lease is ours, or free.
    Ours,
    /// Somebody has it, at least until then.
    Wait(Instant),
}

/// A record, and when it was first seen like this.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    holder: String,
    renewed: Option<MicroTime>,
    lasts: Duration,
    at: Instant,
}

impl Seen {
    /// What is known after another look.
    pub(super) fn after(before: Option<Self>, lease: &Lease, now: Instant) -> Self {
        let spec = lease.spec.clone().unwrap_or_default();
        let seconds = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(0);
        let seen = Self {
            holder: spec.holder_identity.unwrap_or_default(),
            renewed: spec.renew_time,
            lasts: Duration::from_secs(seconds),
            at: now,
        };
        match before {
            Some(before) if before.holder == seen.holder && before.renewed == seen.renewed => {
                Self { at: before.at, ..seen }
            }
            _ => seen,
        }
    }
}

/// Who holds the lease.
pub(super) fn holder(lease: &Lease) -> Option<&String> {
    lease.spec.as_ref()?.holder_identity.as_ref()
}

/// Whether the lease may be taken.
pub(super) fn judge(seen: Option<&Seen>, election: &Election, now: Instant) -> Step {
    match seen {
        Some(seen) if !seen.holder.is_empty() && seen.holder != election.identity && now < seen.at + seen.lasts => {
            Step::Wait(seen.at + seen.lasts)
        }
        _ => Step::Ours,
    }
}

/// The record that says that it is ours from now on, or still.
pub(super) fn next(current: Option<&Lease>, election: &Election, now: Timestamp) -> LeaseSpec {
    let old = current.and_then(|lease| lease.spec.clone()).unwrap_or_default();
    let ours = old.holder_identity.as_ref() == Some(&election.identity);
    let transitions = old.lease_transitions.unwrap_or(0);
    LeaseSpec {
        holder_identity: Some(election.identity.clone()),
        lease_duration_seconds: Some(i32::try_from(election.lease.as_secs().max(1)).unwrap_or(i32::MAX)),
        acquire_time: if ours { old.acquire_time } else { Some(MicroTime(now)) },
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(match current {
            Some(_) if !ours => transitions + 1,
            _ => transitions,
        }),
        ..LeaseSpec::default()
    }
}
