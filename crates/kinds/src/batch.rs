//! Jobs and CronJobs.

#[cfg(test)]
mod cases;
mod cronjob;
mod indexes;
mod job;
mod policy;
mod spec;
mod status;
mod update;

use serde_json::{Value, json};

use crate::Rules;

const UID_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

pub(crate) fn rules(kind: &str) -> &'static Rules {
    match kind {
        "Job" => &JOB,
        "CronJob" => &CRON_JOB,
        _ => &Rules::PLAIN,
    }
}

static JOB: Rules = Rules {
    fields: &[("status.successful", "/status/succeeded")],
    default: job::default,
    prepare_create: job::prepare_create,
    validate: job::validate,
    validate_new: |job| job::generated_selector(job, true),
    validate_update: update::validate,
    validate_status: status::validate,
    ..Rules::PLAIN
};

static CRON_JOB: Rules = Rules {
    default: |cron| {
        if let Some(spec) = cron.pointer_mut("/spec/jobTemplate/spec/template/spec").and_then(Value::as_object_mut) {
            crate::core::pod::default_spec(spec);
        }
    },
    prepare_create: |cron| api::meta::put(cron, "status", json!({})),
    validate: cronjob::validate,
    validate_new: cronjob::validate_new,
    validate_update: cronjob::validate_update,
    ..Rules::PLAIN
};
