//! Deletes finished Jobs when `spec.ttlSecondsAfterFinished` has passed.

use std::sync::Arc;
use std::time::Duration;

use client::{Informer, ObjectKey, Outcome, Reconciler, Runner, write};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use tokio_util::sync::CancellationToken;

use crate::context::{Context, start};
use crate::job::is_finished;

const ACCOUNT: &str = "ttl-after-finished-controller";
const WORKERS: usize = 5;

struct TtlAfterFinished {
    client: kube::Client,
    jobs: Informer<Job>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let jobs = context.informers.get::<Job>();
    let reconciler = TtlAfterFinished { client: context.client(ACCOUNT), jobs: jobs.clone() };
    let runner = Runner::new(Arc::new(reconciler), WORKERS)
        .watch(&jobs, |job: &Job| expires(job).map(|_| ObjectKey::of(&job.metadata)));
    start(runner, async { jobs.synced().await }, shutdown).await;
}

/// When a Job is to go; none for one that stays, or has not ended.
fn expires(job: &Job) -> Option<Timestamp> {
    let seconds = job.spec.as_ref()?.ttl_seconds_after_finished?;
    if job.metadata.deletion_timestamp.is_some() || is_finished(job).is_none() {
        return None;
    }
    let mut conditions = job.status.as_ref()?.conditions.iter().flatten();
    let last = conditions.find(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True")?;
    last.last_transition_time.as_ref()?.0.checked_add(SignedDuration::from_secs(seconds.into())).ok()
}

impl Reconciler for TtlAfterFinished {
    type Key = ObjectKey;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "ttl-after-finished"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, kube::Error> {
        let left = |job: &Job| expires(job).map(|at| Duration::try_from(at.duration_since(Timestamp::now())));
        match self.jobs.find(key).and_then(|job| left(&job)) {
            None => return Ok(Outcome::Done),
            Some(Ok(left)) if !left.is_zero() => return Ok(Outcome::RequeueAfter(left)),
            Some(_) => {}
        }
        let api = Api::<Job>::namespaced(self.client.clone(), &key.namespace);
        // The time may have been changed, and the cache may be late.
        let Some(job) = api.get_opt(&key.name).await? else { return Ok(Outcome::Done) };
        match left(&job) {
            None => return Ok(Outcome::Done),
            Some(Ok(left)) if !left.is_zero() => return Ok(Outcome::RequeueAfter(left)),
            Some(_) => {}
        }
        let preconditions = Preconditions { uid: job.metadata.uid, resource_version: job.metadata.resource_version };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::foreground() };
        match api.delete(&key.name, &params).await {
            Err(error) if write::is_not_found(&error) => Ok(Outcome::Done),
            other => other.map(|_| Outcome::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_jobs_that_ended_expire() {
        let job = |ttl: Option<i32>, kind: &str| -> Job {
            let condition = json!({"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
            serde_json::from_value(json!({"metadata": {},
                "spec": {"ttlSecondsAfterFinished": ttl, "template": {}}, "status": {"conditions": [condition]}}))
            .unwrap()
        };
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        assert_eq!(expires(&job(Some(30), "Complete")), at("2026-01-01T00:00:30Z"));
        assert_eq!(expires(&job(Some(0), "Failed")), at("2026-01-01T00:00:00Z"));
        assert_eq!(expires(&job(Some(30), "Suspended")), None);
        assert_eq!(expires(&job(None, "Complete")), None);
    }
}
