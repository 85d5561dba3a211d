use std::sync::Arc;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use serde_json::{Value, json};

use super::plan::{Plan, plan, started};

const NOW: &str = "2026-01-01T01:00:30Z";

fn cron(spec: Value, status: Value) -> CronJob {
    let mut spec = spec;
    spec["jobTemplate"] = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"template": {}}});
    let meta = json!({"name": "c", "namespace": "n", "uid": "c", "creationTimestamp": "2026-01-01T00:00:00Z"});
    serde_json::from_value(json!({"metadata": meta, "spec": spec, "status": status})).unwrap()
}

fn hourly(more: Value) -> Value {
    let mut spec = json!({"schedule": "0 * * * *", "concurrencyPolicy": "Allow"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

fn job(name: &str, ended: Option<&str>, minute: u32) -> Value {
    let at = format!("2026-01-01T00:{minute:02}:00Z");
    let condition = ended.map(|kind| json!([{"type": kind, "status": "True"}]));
    json!({"metadata": {"name": name, "uid": name}, "spec": {"template": {}},
        "status": {"startTime": at, "completionTime": at, "conditions": condition}})
}

fn look(cron: &CronJob, jobs: &[Value]) -> Plan {
    let jobs: Vec<Arc<Job>> = jobs.iter().map(|job| Arc::new(serde_json::from_value(job.clone()).unwrap())).collect();
    plan(cron, &jobs, NOW.parse().unwrap())
}

fn created(plan: &Plan) -> Option<String> {
    plan.create.as_ref().and_then(|job| job.metadata.name.clone())
}

fn told(plan: &Plan) -> Vec<&str> {
    plan.events.iter().map(|happening| happening.reason).collect()
}

fn active(name: &str) -> Value {
    json!({"active": [{"name": name, "uid": name}]})
}

#[test]
fn a_job_when_it_is_due_and_not_twice() {
    let plan = look(&cron(hourly(json!({})), json!({})), &[]);
    let job = plan.create.clone().unwrap();
    assert_eq!(job.metadata.name.as_deref(), Some("c-29453820"), "minutes since 1970");
    let annotations = job.metadata.annotations.clone().unwrap();
    let at = annotations.get("batch.kubernetes.io/cronjob-scheduled-timestamp");
    assert_eq!(at.map(String::as_str), Some("2026-01-01T01:00:00Z"));
    assert_eq!(plan.again.map(|wait| wait.as_secs()), Some(59 * 60 + 30));
    let status = serde_json::to_value(started(plan.status, &job, plan.due.unwrap())).unwrap();
    assert_eq!(created(&look(&cron(hourly(json!({})), status), &[])), None);
    assert_eq!(created(&look(&cron(hourly(json!({"suspend": true})), json!({})), &[])), None);
}

#[test]
fn zones_shift_it() {
    let spec = json!({"schedule": "0 2 * * *", "timeZone": "Europe/Berlin"});
    let plan = look(&cron(spec, json!({})), &[]);
    let annotations = plan.create.unwrap().metadata.annotations.unwrap();
    assert_eq!(annotations.values().next().map(String::as_str), Some("2026-01-01T02:00:00+01:00"));
    let plan = look(&cron(json!({"schedule": "* * * * *", "timeZone": "Mars/Olympus"}), json!({})), &[]);
    assert_eq!((created(&plan), told(&plan)), (None, vec!["UnknownTimeZone"]));
}

#[test]
fn one_after_the_other() {
    let with = |policy: &str| cron(hourly(json!({"concurrencyPolicy": policy})), active("old"));
    let jobs = [job("old", None, 0)];
    assert!(created(&look(&with("Allow"), &jobs)).is_some());
    let forbidden = look(&with("Forbid"), &jobs);
    assert_eq!((created(&forbidden), told(&forbidden)), (None, vec!["JobAlreadyActive"]));
    let replaced = look(&with("Replace"), &jobs);
    assert_eq!(replaced.delete.first().and_then(|job| job.metadata.name.as_deref()), Some("old"));
    assert!(created(&replaced).is_some() && replaced.status.active.is_none());
}

#[test]
fn too_late_is_missed() {
    let spec = hourly(json!({"startingDeadlineSeconds": 10}));
    assert_eq!(created(&look(&cron(spec, json!({})), &[])), None);
    let spec = hourly(json!({"startingDeadlineSeconds": 60}));
    assert!(created(&look(&cron(spec, json!({})), &[])).is_some());
}

#[test]
fn of_many_missed_times_the_last_counts() {
    let status = json!({"lastScheduleTime": "2020-01-01T00:00:00Z"});
    let plan = look(&cron(json!({"schedule": "*/10 * * * *"}), status), &[]);
    assert_eq!((created(&plan).as_deref(), told(&plan)), (Some("c-29453820"), vec!["TooManyMissedTimes"]));
}

#[test]
fn finished_jobs_leave_the_list_and_old_ones_go() {
    let spec = hourly(json!({"suspend": true, "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 0}));
    let jobs = [job("a", Some("Complete"), 1), job("b", Some("Complete"), 2), job("f", Some("Failed"), 3)];
    let plan = look(&cron(spec, active("b")), &jobs);
    let names: Vec<_> = plan.delete.iter().filter_map(|job| job.metadata.name.as_deref()).collect();
    assert_eq!(names, ["a", "f"]);
    assert_eq!((plan.status.active.is_none(), told(&plan)), (true, vec!["SawCompletedJob"]));
    assert_eq!(plan.status.last_successful_time.unwrap().0.to_string(), "2026-01-01T00:02:00Z");
}
