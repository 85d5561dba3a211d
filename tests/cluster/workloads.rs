//! Workloads beside Deployments: Jobs and CronJobs.

use serde_json::Value;
use tests::{Cluster, eventually};

/// A pod template whose container runs a script.
fn template(script: &str) -> String {
    let container =
        format!("{{name: c, image: nginx, imagePullPolicy: IfNotPresent, command: [sh, -c, '{script}']}}");
    format!("{{spec: {{restartPolicy: Never, terminationGracePeriodSeconds: 1, containers: [{container}]}}}}")
}

fn job(name: &str, spec: &str, script: &str) -> String {
    let template = template(script);
    format!("apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec: {{{spec}, template: {template}}}\n")
}

fn wait(cluster: &Cluster, condition: &str, what: &str) {
    cluster.kubectl(&["wait", &format!("--for=condition={condition}"), what, "--timeout=60s"]).must();
}

fn status(cluster: &Cluster, what: &str) -> Value {
    cluster.get(&[what]).unwrap()["status"].clone()
}

fn reasons(status: &Value) -> Vec<(&str, &str)> {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.map(|c| (c["type"].as_str().unwrap(), c["reason"].as_str().unwrap_or_default())).collect()
}

#[test]
fn jobs_run_to_their_end() {
    let cluster = Cluster::start();
    cluster.apply(&job("indexed", "completions: 3, parallelism: 2, completionMode: Indexed", "echo $JOB_COMPLETION_INDEX"));
    cluster.apply(&job("failing", "backoffLimit: 0", "exit 3"));
    cluster.apply(&job("brief", "ttlSecondsAfterFinished: 0", "true"));
    cluster.apply(&job("paused", "suspend: true", "true"));

    wait(&cluster, "complete", "job/indexed");
    let indexed = status(&cluster, "job/indexed");
    assert_eq!((&indexed["succeeded"], &indexed["completedIndexes"]), (&3.into(), &"0-2".into()), "{indexed}");
    let last = "batch.kubernetes.io/job-completion-index=2";
    assert_eq!(cluster.kubectl(&["logs", "-l", last]).must().trim(), "2");

    wait(&cluster, "failed", "job/failing");
    let failing = status(&cluster, "job/failing");
    let expected = [("FailureTarget", "BackoffLimitExceeded"), ("Failed", "BackoffLimitExceeded")];
    assert_eq!((reasons(&failing), &failing["failed"]), (expected.to_vec(), &1.into()));

    eventually("the job whose time is over is gone", || match cluster.get(&["job/brief"]) {
        Err(_) => Ok(()),
        Ok(job) => Err(job["status"].to_string()),
    });

    assert_eq!(reasons(&status(&cluster, "job/paused")), [("Suspended", "JobSuspended")]);
    cluster.kubectl(&["patch", "job", "paused", "-p", r#"{"spec":{"suspend":false}}"#]).must();
    wait(&cluster, "complete", "job/paused");
    cluster.kubectl(&["delete", "jobs", "--all", "--timeout=60s"]).must();
    eventually("their pods are gone", || {
        let pods = cluster.get(&["pods"])?["items"].as_array().map_or(0, Vec::len);
        if pods == 0 { Ok(()) } else { Err(format!("{pods} are left")) }
    });
}

#[test]
fn cron_jobs_make_jobs() {
    let cluster = Cluster::start();
    let cron = format!(
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: tick}}\n\
         spec: {{schedule: '@every 2s', successfulJobsHistoryLimit: 1, concurrencyPolicy: Forbid, jobTemplate: {{spec: {{template: {}}}}}}}\n",
        template("true")
    );
    cluster.apply(&cron);
    eventually("a job of the schedule has succeeded", || {
        let status = status(&cluster, "cronjob/tick");
        if status["lastSuccessfulTime"].is_string() { Ok(()) } else { Err(status.to_string()) }
    });
    cluster.kubectl(&["patch", "cronjob", "tick", "-p", r#"{"spec":{"suspend":true}}"#]).must();
    cluster.kubectl(&["create", "job", "by-hand", "--from=cronjob/tick"]).must();
    wait(&cluster, "complete", "job/by-hand");
    cluster.kubectl(&["delete", "cronjob", "tick"]).must();
}
