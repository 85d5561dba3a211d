//! What an autoscaler says about itself. Pure.

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A condition to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) kind: &'static str,
    pub(super) holds: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Verdict {
    fn new(kind: &'static str, holds: bool, reason: &str, message: impl Into<String>) -> Self {
        Self { kind, holds, reason: reason.to_owned(), message: message.into() }
    }

    pub(super) fn able(reason: &str, message: impl Into<String>) -> Self {
        Self::new("AbleToScale", true, reason, message)
    }

    pub(super) fn unable(reason: &str, message: impl Into<String>) -> Self {
        Self::new("AbleToScale", false, reason, message)
    }

    pub(super) fn active(reason: &str, message: impl Into<String>) -> Self {
        Self::new("ScalingActive", true, reason, message)
    }

    pub(super) fn inactive(reason: &str, message: impl Into<String>) -> Self {
        Self::new("ScalingActive", false, reason, message)
    }

    pub(super) fn limited(reason: &str, message: impl Into<String>) -> Self {
        Self::new("ScalingLimited", true, reason, message)
    }

    pub(super) fn within_range() -> Self {
        Self::new("ScalingLimited", false, "DesiredWithinRange", "the desired count is within the acceptable range")
    }
}

/// Sets a condition; one that holds already keeps its time.
pub(super) fn set(status: &mut HorizontalPodAutoscalerStatus, verdict: Verdict, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    let value = if verdict.holds { "True" } else { "False" };
    let new = |since: Option<Time>| HorizontalPodAutoscalerCondition {
        type_: verdict.kind.to_owned(),
        status: value.to_owned(),
        reason: Some(verdict.reason.clone()),
        message: Some(verdict.message.clone()),
        last_transition_time: since,
        observed_generation: None,
    };
    match conditions.iter_mut().find(|condition| condition.type_ == verdict.kind) {
        Some(known) => {
            let since = if known.status == value { known.last_transition_time.clone() } else { Some(Time(now)) };
            *known = new(since);
        }
        None => conditions.push(new(Some(Time(now)))),
    }
}
