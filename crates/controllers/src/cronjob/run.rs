//! Reads CronJobs and their Jobs, makes and deletes Jobs, writes the status.

use std::collections::HashMap;
use std::sync::Arc;

use client::{EventRecorder, Informer, ObjectKey, Outcome, Reconciler, Runner, reference, write};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::plan::{self, Plan};
use crate::common::owner;
use crate::common::pod_control::{is_namespace_ending, message};
use crate::context::{Context, start};

const ACCOUNT: &str = "cronjob-controller";
const KIND: &str = "CronJob";
const WORKERS: usize = 5;
const BY_OWNER: &str = "owner";

struct CronJobs {
    client: kube::Client,
    events: EventRecorder,
    crons: Informer<CronJob>,
    jobs: Informer<Job>,
    /// The version that each status was last written as: a cache that is behind it is no ground to act on.
    written: Mutex<HashMap<ObjectKey, u64>>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let crons = context.informers.get::<CronJob>();
    let jobs = context.informers.get::<Job>();
    jobs.add_index(BY_OWNER, |job| {
        owner::controller_of(&job.metadata).map(|owner| owner.uid.clone()).into_iter().collect()
    });
    let reconciler = Arc::new(CronJobs {
        client: context.client(ACCOUNT),
        events: context.recorder(ACCOUNT),
        crons: crons.clone(),
        jobs: jobs.clone(),
        written: Mutex::default(),
    });
    let runner = Runner::new(reconciler, WORKERS)
        .watch(&crons, |cron: &CronJob| Some(ObjectKey::of(&cron.metadata)))
        .watch(&jobs, |job: &Job| owner::owned_by(KIND, &job.metadata));
    let synced = async {
        crons.synced().await;
        jobs.synced().await;
    };
    start(runner, synced, shutdown).await;
}

fn version(cron: &CronJob) -> u64 {
    cron.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

impl Reconciler for CronJobs {
    type Key = ObjectKey;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "cronjob"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, kube::Error> {
        let Some(cron) = self.crons.find(key) else {
            self.written.lock().remove(key);
            return Ok(Outcome::Done);
        };
        if self.written.lock().get(key).is_some_and(|written| *written > version(&cron)) {
            return Ok(Outcome::Done);
        }
        let mut jobs = self.jobs.by_index(BY_OWNER, cron.metadata.uid.as_deref().unwrap_or_default());
        jobs.retain(|job| job.metadata.namespace.as_deref() == Some(key.namespace.as_str()));
        let plan = plan::plan(&cron, &jobs, Timestamp::now());
        self.carry_out(key, &cron, plan).await
    }
}

impl CronJobs {
    async fn carry_out(&self, key: &ObjectKey, cron: &CronJob, plan: Plan) -> kube::Result<Outcome> {
        let object = reference(cron);
        for happening in &plan.events {
            self.events.event(&object, happening.kind, happening.reason, happening.message.clone());
        }
        for job in &plan.delete {
            self.delete(cron, job).await?;
        }
        let mut status = plan.status;
        if let (Some(job), Some(due)) = (&plan.create, plan.due)
            && let Some(made) = self.create(cron, job).await?
        {
            status = plan::started(status, &made, due);
        }
        self.write_status(key, cron, status).await?;
        Ok(plan.again.map_or(Outcome::Done, Outcome::RequeueAfter))
    }

    async fn delete(&self, cron: &CronJob, job: &Job) -> kube::Result<()> {
        let key = ObjectKey::of(&job.metadata);
        let preconditions = Preconditions { uid: job.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let api = Api::<Job>::namespaced(self.client.clone(), &key.namespace);
        match api.delete(&key.name, &params).await {
            Ok(_) => {
                self.events.normal(&reference(cron), "SuccessfulDelete", format!("Deleted job {}", key.name));
                Ok(())
            }
            Err(error) if write::is_not_found(&error) => Ok(()),
            Err(error) => {
                self.events.warning(&reference(cron), "FailedDelete", format!("Deleted job: {}", message(&error)));
                Err(error)
            }
        }
    }

    /// The Job, or the one of that name if it is ours already; none if there is nothing to start.
    async fn create(&self, cron: &CronJob, job: &Job) -> kube::Result<Option<Job>> {
        let key = ObjectKey::of(&job.metadata);
        let api = Api::<Job>::namespaced(self.client.clone(), &key.namespace);
        match api.create(&PostParams::default(), job).await {
            Ok(made) => {
                self.events.normal(&reference(cron), "SuccessfulCreate", format!("Created job {}", key.name));
                Ok(Some(made))
            }
            Err(error) if write::is_already_exists(&error) => {
                let there = api.get_opt(&key.name).await?;
                let ours = |job: &Job| {
                    owner::controller_of(&job.metadata).map(|owner| &owner.uid) == cron.metadata.uid.as_ref()
                };
                Ok(there.filter(ours))
            }
            Err(error) if is_namespace_ending(&error) => Ok(None),
            Err(error) => {
                let why = format!("Error creating job: {}", message(&error));
                self.events.warning(&reference(cron), "FailedCreate", why);
                Err(error)
            }
        }
    }

    async fn write_status(&self, key: &ObjectKey, cron: &CronJob, status: CronJobStatus) -> kube::Result<()> {
        if cron.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let new = CronJob { status: Some(status), ..cron.clone() };
        let api = Api::<CronJob>::namespaced(self.client.clone(), &key.namespace);
        match api.replace_status(&key.name, &PostParams::default(), &new).await {
            Err(error) if write::is_not_found(&error) => Ok(()),
            Err(error) => Err(error),
            Ok(stored) => {
                self.written.lock().insert(key.clone(), version(&stored));
                Ok(())
            }
        }
    }
}
