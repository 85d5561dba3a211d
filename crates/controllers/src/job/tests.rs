use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::backoff::Backoff;
use super::plan::{NewPod, Observed, Plan, TRACKING, plan};

const NOW: &str = "2026-01-01T01:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn job(spec: Value, status: Value) -> Job {
    let mut spec = spec;
    spec["template"] = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}});
    serde_json::from_value(json!({"metadata": {"name": "j", "uid": "j"}, "spec": spec, "status": status})).unwrap()
}

/// A pod that ended, if it did, at half past midnight.
fn pod(name: &str, phase: &str) -> Value {
    let code = i32::from(phase == "Failed");
    let ended = json!({"terminated": {"exitCode": code, "finishedAt": "2026-01-01T00:30:00Z"}});
    let running = json!({"running": {}});
    let state = if matches!(phase, "Succeeded" | "Failed") { ended } else { running };
    json!({"metadata": {"name": name, "uid": name, "namespace": "n", "finalizers": [TRACKING]},
        "spec": {"containers": []}, "status": {"phase": phase,
            "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": state}]}})
}

fn indexed(name: &str, phase: &str, index: i32, failures: i32) -> Value {
    let mut pod = pod(name, phase);
    pod["metadata"]["annotations"] = json!({"batch.kubernetes.io/job-completion-index": index.to_string(),
        "batch.kubernetes.io/job-index-failure-count": failures.to_string()});
    pod
}

fn counted(mut pod: Value) -> Value {
    pod["metadata"]["finalizers"] = json!([]);
    pod
}

fn leaving(mut pod: Value) -> Value {
    pod["metadata"]["deletionTimestamp"] = json!(NOW);
    pod
}

fn look(job: &Job, pods: &[Value]) -> Plan {
    let pods: Vec<Arc<Pod>> = pods.iter().map(|pod| Arc::new(serde_json::from_value(pod.clone()).unwrap())).collect();
    plan(&Observed { job, pods: &pods, trusted: true, backoff: Backoff::default(), now: now() })
}

fn names(pods: &[Arc<Pod>]) -> Vec<&str> {
    pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect()
}

fn conditions(status: &JobStatus) -> Vec<(&str, &str)> {
    let all = status.conditions.iter().flatten();
    all.map(|c| (c.type_.as_str(), c.reason.as_deref().unwrap_or_default())).collect()
}

fn indexes(plan: &Plan) -> Vec<i32> {
    plan.create.iter().filter_map(|new| new.index).collect()
}

#[test]
fn as_many_pods_as_may_run_and_are_still_needed() {
    let count = |spec: Value, succeeded: i32, pods: &[Value]| {
        look(&job(spec, json!({"succeeded": succeeded})), pods).create.len()
    };
    assert_eq!(count(json!({"parallelism": 2, "completions": 5}), 0, &[]), 2);
    assert_eq!(count(json!({"parallelism": 2, "completions": 5}), 4, &[]), 1);
    assert_eq!(count(json!({"parallelism": 3, "completions": 5}), 0, &[pod("a", "Running")]), 2);
    assert_eq!(count(json!({"parallelism": 3}), 0, &[]), 3);
    assert_eq!(count(json!({"parallelism": 3}), 1, &[pod("a", "Running")]), 0, "after a success no more are made");
    assert_eq!(count(json!({"parallelism": 0, "completions": 1}), 0, &[]), 0);
}

#[test]
fn a_pod_that_ended_is_noted_then_freed_then_counted() {
    let spec = json!({"parallelism": 1, "completions": 2});
    let first = look(&job(spec.clone(), json!({})), &[pod("a", "Succeeded")]);
    let noted = first.status.uncounted_terminated_pods.clone().unwrap();
    assert_eq!((noted.succeeded, first.status.succeeded), (Some(vec!["a".to_owned()]), None));
    assert_eq!((names(&first.untrack), first.create.len()), (vec!["a"], 1));

    let status = serde_json::to_value(&first.status).unwrap();
    let second = look(&job(spec.clone(), status.clone()), &[pod("a", "Succeeded")]);
    assert_eq!(second.status.succeeded, None, "not while the finalizer is there");
    let third = look(&job(spec, status), &[counted(pod("a", "Succeeded")), pod("b", "Running")]);
    assert_eq!(third.status.succeeded, Some(1));
    assert_eq!(third.status.uncounted_terminated_pods.unwrap().succeeded, None);
}

#[test]
fn complete_once_the_last_pod_is_counted() {
    let spec = json!({"parallelism": 1, "completions": 1});
    let soon = look(&job(spec.clone(), json!({})), &[pod("a", "Succeeded")]);
    assert_eq!(conditions(&soon.status), [("SuccessCriteriaMet", "CompletionsReached")]);
    let status = serde_json::to_value(&soon.status).unwrap();
    let done = look(&job(spec, status), &[counted(pod("a", "Succeeded"))]);
    let expected = [("SuccessCriteriaMet", "CompletionsReached"), ("Complete", "CompletionsReached")];
    assert_eq!(conditions(&done.status), expected);
    assert!(done.status.completion_time.is_some());
    assert_eq!((done.status.succeeded, done.status.active), (Some(1), None));
    assert_eq!(done.events.first().map(|e| e.reason.as_str()), Some("Completed"));
}

#[test]
fn failures_are_waited_for_and_have_a_limit() {
    let spec = json!({"parallelism": 1, "completions": 1, "backoffLimit": 1});
    let mut recent = pod("a", "Failed");
    recent["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = json!("2026-01-01T00:59:56Z");
    let waiting = look(&job(spec.clone(), json!({})), &[recent]);
    assert_eq!((waiting.create.len(), waiting.again.map(|wait| wait.as_secs())), (0, Some(6)));
    assert_eq!(waiting.backoff.failures, 1);

    let over = look(&job(spec, json!({"failed": 1})), &[pod("b", "Failed"), pod("c", "Running")]);
    assert_eq!(conditions(&over.status), [("FailureTarget", "BackoffLimitExceeded")]);
    assert_eq!((names(&over.end), over.create.len()), (vec!["c"], 0));
    let noted = over.status.uncounted_terminated_pods.unwrap().failed.unwrap();
    assert_eq!(noted, ["b", "c"], "what is ended for a Job that failed has failed");
}

#[test]
fn restarts_in_place_count() {
    let mut restarting = pod("a", "Running");
    restarting["status"]["containerStatuses"][0]["restartCount"] = json!(2);
    let mut job = job(json!({"parallelism": 1, "completions": 1, "backoffLimit": 2}), json!({}));
    job.spec.as_mut().unwrap().template.spec.as_mut().unwrap().restart_policy = Some("OnFailure".into());
    assert_eq!(conditions(&look(&job, &[restarting]).status), [("FailureTarget", "BackoffLimitExceeded")]);
}

#[test]
fn a_deadline_ends_it() {
    let spec = json!({"parallelism": 1, "completions": 1, "activeDeadlineSeconds": 60});
    let left = look(&job(spec.clone(), json!({"startTime": "2026-01-01T00:59:30Z"})), &[pod("a", "Running")]);
    assert_eq!(left.again.map(|wait| wait.as_secs()), Some(30));
    let over = look(&job(spec, json!({"startTime": "2026-01-01T00:59:00Z"})), &[pod("a", "Running")]);
    assert_eq!(conditions(&over.status), [("FailureTarget", "DeadlineExceeded")]);
    assert_eq!(names(&over.end), ["a"]);
}

#[test]
fn suspended_and_resumed() {
    let spec = json!({"parallelism": 1, "completions": 1, "suspend": true});
    let paused = look(&job(spec, json!({"startTime": "2026-01-01T00:00:00Z"})), &[pod("a", "Running")]);
    assert_eq!(names(&paused.discard), ["a"]);
    assert_eq!(conditions(&paused.status), [("Suspended", "JobSuspended")]);
    let status = serde_json::to_value(&paused.status).unwrap();
    let again = look(&job(json!({"parallelism": 1, "completions": 1}), status), &[]);
    assert_eq!((again.create.len(), again.status.start_time.unwrap().0), (1, now()));
    assert_eq!(again.status.conditions.unwrap().first().unwrap().status, "False");
}

#[test]
fn each_index_once() {
    let spec = json!({"completionMode": "Indexed", "parallelism": 3, "completions": 4});
    let pods = [indexed("a", "Running", 1, 0), indexed("b", "Succeeded", 0, 0)];
    let plan = look(&job(spec.clone(), json!({})), &pods);
    assert_eq!(indexes(&plan), [2, 3]);
    assert_eq!((plan.status.completed_indexes.as_deref(), plan.status.succeeded), (Some("0"), Some(1)));
    let twice = [indexed("a", "Running", 1, 0), indexed("b", "Pending", 1, 0), indexed("c", "Running", 0, 0)];
    let plan = look(&job(spec, json!({"completedIndexes": "0"})), &twice);
    assert_eq!(names(&plan.discard).len(), 2, "one too many of index 1, and the one of index 0, which is done");
}

#[test]
fn an_index_fails_for_itself() {
    let spec = json!({"completionMode": "Indexed", "parallelism": 2, "completions": 2, "backoffLimitPerIndex": 1});
    let again = look(&job(spec.clone(), json!({})), &[indexed("a", "Failed", 0, 0), indexed("b", "Running", 1, 0)]);
    assert_eq!(again.create, [NewPod { index: Some(0), failures: 1, ignored: 0 }]);
    assert!(again.untrack.is_empty(), "the failed pod stays until the next one knows how often");
    let pods = [indexed("a", "Failed", 0, 1), indexed("b", "Succeeded", 1, 0)];
    let over = look(&job(spec, json!({})), &pods);
    assert_eq!(conditions(&over.status), [("FailureTarget", "FailedIndexes")]);
    assert_eq!(over.status.failed_indexes.as_deref(), Some("0"));
    assert_eq!(over.status.completed_indexes.as_deref(), Some("1"));
}

#[test]
fn rules_judge_failures() {
    let rule = |action: &str| {
        json!({"parallelism": 1, "completions": 1, "podFailurePolicy": {"rules": [
            {"action": action, "onExitCodes": {"operator": "In", "values": [1]}}]}})
    };
    let over = look(&job(rule("FailJob"), json!({})), &[pod("a", "Failed")]);
    assert_eq!(conditions(&over.status), [("FailureTarget", "PodFailurePolicy")]);
    let why = over.status.conditions.unwrap().first().unwrap().message.clone().unwrap();
    assert_eq!(why, "Container c for pod n/a failed with exit code 1 matching FailJob rule at index 0");
    let ignored = look(&job(rule("Ignore"), json!({})), &[pod("a", "Failed")]);
    assert_eq!((ignored.create.len(), ignored.status.failed), (1, None));
    assert_eq!(ignored.status.uncounted_terminated_pods.unwrap().failed, None);
}

#[test]
fn enough_successes_by_rule() {
    let spec = json!({"completionMode": "Indexed", "parallelism": 3, "completions": 3,
        "successPolicy": {"rules": [{"succeededIndexes": "0"}]}});
    let pods = [indexed("a", "Succeeded", 0, 0), indexed("b", "Running", 1, 0)];
    let plan = look(&job(spec, json!({})), &pods);
    assert_eq!(conditions(&plan.status), [("SuccessCriteriaMet", "SuccessPolicy")]);
    assert_eq!(names(&plan.end), ["b"]);
    assert_eq!(plan.status.uncounted_terminated_pods.unwrap().failed, None);
}

#[test]
fn who_is_leaving_is_replaced_at_once_or_at_its_end() {
    let with = |policy: &str| json!({"parallelism": 1, "completions": 1, "podReplacementPolicy": policy});
    let pods = [leaving(pod("a", "Running"))];
    let soon = look(&job(with("TerminatingOrFailed"), json!({})), &pods);
    assert_eq!(soon.backoff.failures, 1, "on its way out counts as failed");
    let later = look(&job(with("Failed"), json!({})), &pods);
    assert_eq!((later.create.len(), later.status.terminating), (0, Some(1)));
    assert_eq!(later.backoff.failures, 0);
}
