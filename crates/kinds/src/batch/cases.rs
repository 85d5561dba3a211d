//! Jobs and CronJobs that are refused, and with what words. Each case merges a fragment of spec into a good one.

use serde_json::{Value, json};

use super::{CRON_JOB, JOB};
use crate::Rules;
use crate::tests::{merge, text};

fn job(fragment: Value) -> Value {
    let mut job = json!({"metadata": {"name": "j", "uid": "u1"}, "spec": {
        "completionMode": "NonIndexed", "suspend": false, "backoffLimit": 6,
        "template": {"spec": {"restartPolicy": "Never", "dnsPolicy": "ClusterFirst", "containers": [
            {"name": "c", "image": "i", "terminationMessagePolicy": "File"}]}}}});
    (JOB.default)(&mut job);
    (JOB.prepare_create)(&mut job);
    merge(&mut job, &json!({"spec": fragment}));
    job
}

fn indexed(fragment: Value) -> Value {
    let mut indexed = job(json!({"completionMode": "Indexed", "completions": 5, "parallelism": 5}));
    merge(&mut indexed, &json!({"spec": fragment}));
    indexed
}

fn cron(fragment: Value) -> Value {
    let mut template = job(json!({"selector": null}));
    let spec = template["spec"].take();
    let mut cron = json!({"metadata": {"name": "c"},
        "spec": {"schedule": "* * * * *", "concurrencyPolicy": "Allow", "jobTemplate": {"spec": spec}}});
    merge(&mut cron, &json!({"spec": fragment}));
    cron
}

fn refused(rules: &Rules, object: &Value, expected: &str) {
    let mut errors = (rules.validate)(object);
    errors.extend((rules.validate_new)(object));
    assert_eq!(text(&errors), expected, "{object}");
}

fn changed(rules: &Rules, old: &Value, new: &Value, expected: &str) {
    assert_eq!(text(&(rules.validate_update)(new, old)), expected, "{old} to {new}");
}

#[test]
fn a_job_that_says_little_gets_the_rest() {
    let mut found = json!({"metadata": {"name": "j", "uid": "u1"}, "spec": {
        "backoffLimitPerIndex": 1, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {}}}});
    (JOB.default)(&mut found);
    assert_eq!(found["spec"]["backoffLimit"], i32::MAX);
    assert_eq!(found["metadata"]["labels"], json!({"a": "b"}));
    let found = job(json!({}));
    assert_eq!(found["spec"]["completions"], 1);
    assert_eq!(found["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u1"}}));
    assert_eq!(found["spec"]["template"]["metadata"]["labels"]["job-name"], "j");
    refused(&JOB, &found, "");
}

#[test]
fn jobs_that_are_refused() {
    let policy = "spec.podFailurePolicy.rules[0]";
    for (object, expected) in [
        (job(json!({"backoffLimit": -1})), "spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0".into()),
        (job(json!({"maxFailedIndexes": 1})),
            "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified | spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode".into()),
        (job(json!({"managedBy": "me"})),
            "spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")".into()),
        (job(json!({"managedBy": format!("acme.io/{}", "x".repeat(60))})), "spec.managedBy: Too long: may not be more than 63 bytes".into()),
        (job(json!({"completionMode": "x"})),
            "spec.completionMode: Unsupported value: \"x\": supported values: \"NonIndexed\", \"Indexed\"".into()),
        (indexed(json!({"completions": null})), "spec.completions: Required value: when completion mode is Indexed".into()),
        (indexed(json!({"parallelism": 100_001})),
            "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed".into()),
        (indexed(json!({"backoffLimitPerIndex": 1, "maxFailedIndexes": 6})),
            "spec.maxFailedIndexes: Invalid value: 6: must be less than or equal to completions".into()),
        (indexed(json!({"backoffLimitPerIndex": 1, "completions": 100_001, "parallelism": 10_001})),
            "spec.maxFailedIndexes: Required value: must be specified when completions is above 100000 | spec.parallelism: Invalid value: 10001: must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index".into()),
        (job(json!({"template": {"spec": {"restartPolicy": "Always"}}})),
            "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"".into()),
        (job(json!({"template": {"spec": {"restartPolicy": "OnFailure"}},
                "podFailurePolicy": {"rules": [{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [1]}}]}})),
            "spec.template.spec.restartPolicy: Invalid value: \"OnFailure\": only \"Never\" is supported when podFailurePolicy is specified".into()),
        (job(json!({"podFailurePolicy": {"rules": [{"onExitCodes": {"operator": "In", "containerName": "x", "values": [2, 0, 2]}}]}})),
            format!("{policy}.action: Required value: valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"] | {policy}.onExitCodes.containerName: Invalid value: \"x\": must be one of the container or initContainer names in the pod template | {policy}.onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator | {policy}.onExitCodes.values[2]: Duplicate value: 2 | {policy}.onExitCodes.values: Invalid value: [2,0,2]: must be ordered")),
        (job(json!({"podFailurePolicy": {"rules": [{"action": "FailIndex", "onPodConditions": [{"type": "a b", "status": "x"}]}]}})),
            format!("{policy}.action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set | {policy}.onPodConditions[0].type: Invalid value: \"a b\": {NAME} | {policy}.onPodConditions[0].status: Unsupported value: \"x\": supported values: \"False\", \"True\", \"Unknown\"")),
        (job(json!({"podFailurePolicy": {"rules": [{"action": "Ignore"}]}, "podReplacementPolicy": "TerminatingOrFailed"})),
            format!("{policy}: Invalid value: specifying one of OnExitCodes and OnPodConditions is required | spec.podReplacementPolicy: Unsupported value: \"TerminatingOrFailed\": supported values: \"Failed\"")),
        (job(json!({"successPolicy": {"rules": []}})), "spec.successPolicy: Invalid value: {\"rules\":[]}: requires indexed completion mode".into()),
        (indexed(json!({"successPolicy": {"rules": []}})),
            "spec.successPolicy.rules: Required value: at least one rules must be specified when the successPolicy is specified".into()),
        (indexed(json!({"successPolicy": {"rules": [{}, {"succeededIndexes": "0-1", "succeededCount": 3}, {"succeededIndexes": "9"}]}})),
            "spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified | spec.successPolicy.rules[1].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field) | spec.successPolicy.rules[2].succeededIndexes: Invalid value: \"9\": error parsing succeededIndexes: too large index: \"9\"".into()),
        (job(json!({"template": {"metadata": {"labels": {"job-name": "other"}}}})),
            "spec.template.metadata.labels[job-name]: Invalid value: {\"batch.kubernetes.io/controller-uid\":\"u1\",\"batch.kubernetes.io/job-name\":\"j\",\"controller-uid\":\"u1\",\"job-name\":\"other\"}: must be 'j'".into()),
        (job(json!({"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}}})),
            "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\",\"batch.kubernetes.io/controller-uid\":\"u1\"}}: `selector` not auto-generated".into()),
        (job(json!({"manualSelector": true, "selector": null})), "spec.selector: Required value".into()),
    ] {
        refused(&JOB, &object, &expected);
    }
    let mut long = indexed(json!({}));
    long["metadata"]["name"] = "x".repeat(62).into();
    let found = text(&(JOB.validate)(&long));
    assert!(
        found.contains("metadata.name: Invalid value: \"xx") && found.contains("will not able to create pod"),
        "{found}"
    );
}

const NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

#[test]
fn what_stays_as_it_is_in_a_job() {
    changed(&JOB, &job(json!({})), &job(json!({"parallelism": 3, "backoffLimit": 1, "suspend": true})), "");
    changed(
        &JOB,
        &job(json!({})),
        &job(json!({"completions": 2})),
        "spec.completions: Invalid value: 2: field is immutable",
    );
    changed(&JOB, &indexed(json!({})), &indexed(json!({"completions": 2, "parallelism": 2})), "");
    changed(
        &JOB,
        &indexed(json!({})),
        &indexed(json!({"completions": 2})),
        "spec.completions: Invalid value: 2: can only be modified in tandem with spec.parallelism",
    );
    changed(
        &JOB,
        &indexed(json!({})),
        &indexed(json!({"backoffLimitPerIndex": 2, "managedBy": "a/b"})),
        "spec.backoffLimitPerIndex: Invalid value: 2: field is immutable | spec.managedBy: Invalid value: \"a/b\": field is immutable",
    );
}

#[test]
fn a_job_that_rests_may_change_where_it_runs_and_what_it_uses() {
    let moved = json!({"template": {"metadata": {"labels": {"x": "y"}}, "spec": {
        "nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}}, "containers": [{"resources": {"requests": {"cpu": "2"}}}]}}});
    let (suspended, image) =
        (json!({"suspend": true}), json!({"template": {"spec": {"containers": [{"image": "x"}]}}}));
    let immutable = |old: &Value, new: &Value, path: &str| {
        let found = text(&(JOB.validate_update)(new, old));
        assert!(
            found.starts_with(&format!("{path}: Invalid value: ")) && found.ends_with(": field is immutable"),
            "{found}"
        );
    };
    changed(&JOB, &job(suspended.clone()), &job(moved.clone()), "");
    changed(&JOB, &job(json!({"suspend": true, "template": moved["template"]})), &job(json!({})), "");
    immutable(&job(json!({})), &job(moved.clone()), "spec.template");
    immutable(&job(suspended.clone()), &job(image), "spec.template.spec");
    let mut started = job(suspended);
    merge(&mut started, &json!({"status": {"startTime": "2026-01-01T00:00:00Z", "active": 0}}));
    immutable(&started, &job(moved.clone()), "spec.template");
    merge(&mut started, &json!({"status": {"conditions": [{"type": "Suspended", "status": "True"}]}}));
    changed(&JOB, &started, &job(moved.clone()), "");
    merge(&mut started, &json!({"status": {"active": 1}}));
    immutable(&started, &job(moved), "spec.template");
}

#[test]
fn cron_jobs_that_are_refused() {
    for (object, expected) in [
        (cron(json!({})), ""),
        (cron(json!({"schedule": ""})), "spec.schedule: Required value"),
        (
            cron(json!({"schedule": "* * *"})),
            "spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [* * *]",
        ),
        (
            cron(json!({"schedule": "TZ=UTC 0 * * * *"})),
            "spec.schedule: Invalid value: \"TZ=UTC 0 * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        ),
        (
            cron(json!({"schedule": "CRON_TZ=Mars 0 * * * *"})),
            "spec.schedule: Invalid value: \"CRON_TZ=Mars 0 * * * *\": provided bad location Mars: unknown time zone Mars | spec.schedule: Invalid value: \"CRON_TZ=Mars 0 * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        ),
        (cron(json!({"timeZone": ""})), "spec.timeZone: Invalid value: \"\": timeZone must be nil or non-empty string"),
        (
            cron(json!({"timeZone": "local"})),
            "spec.timeZone: Invalid value: \"local\": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        ),
        (cron(json!({"timeZone": "../Rome"})), "spec.timeZone: Invalid value: \"../Rome\": unknown time zone ../Rome"),
        (
            cron(json!({"concurrencyPolicy": "x"})),
            "spec.concurrencyPolicy: Unsupported value: \"x\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
        ),
        (
            cron(json!({"failedJobsHistoryLimit": -1})),
            "spec.failedJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            cron(json!({"jobTemplate": {"spec": {"selector": {}, "manualSelector": true}}})),
            "spec.jobTemplate.spec.selector: Invalid value: {}: `selector` will be auto-generated | spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"nil\", \"false\"",
        ),
    ] {
        refused(&CRON_JOB, &object, expected);
    }
    let mut long = cron(json!({}));
    long["metadata"]["name"] = "x".repeat(53).into();
    let found = text(&(CRON_JOB.validate_new)(&long));
    assert!(found.ends_with("must be no more than 52 characters"), "{found}");
    changed(&CRON_JOB, &long, &long, "");
}

#[test]
fn a_zone_that_was_in_the_schedule_may_stay() {
    let old = cron(json!({"schedule": "TZ=UTC 0 * * * *"}));
    changed(&CRON_JOB, &old, &old, "");
    changed(
        &CRON_JOB,
        &old,
        &cron(json!({"schedule": "TZ=UTC 0 * * * *", "timeZone": "Europe/Rome"})),
        "spec.schedule: Invalid value: \"TZ=UTC 0 * * * *\": cannot use both timeZone field and TZ or CRON_TZ in schedule",
    );
}

#[test]
fn a_status_that_contradicts_itself() {
    let is = |kind: &str| json!({"type": kind, "status": "True"});
    let status = |status: Value| json!({"spec": {"completions": 3, "completionMode": "NonIndexed"}, "status": status});
    let (started, ended) = ("2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z");
    let done = json!({"startTime": started, "completionTime": ended, "conditions": [is("SuccessCriteriaMet"), is("Complete")]});
    for (old, new, expected) in [
        (json!({}), done.clone(), ""),
        (
            done.clone(),
            json!({"startTime": started, "failed": 1}),
            "status.conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition | status.conditions: Invalid value: cannot disable the terminal Complete=True condition",
        ),
        (
            json!({}),
            json!({"startTime": started, "completionTime": ended}),
            "status.completionTime: Invalid value: \"2026-01-01T00:00:02Z\": cannot set completionTime when there is no Complete=True condition",
        ),
        (
            json!({}),
            json!({"conditions": [is("Failed")], "active": 1}),
            "status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition | status.startTime: Required value: startTime is required for finished job | status.active: Invalid value: 1: active>0 is invalid for finished job",
        ),
        (
            json!({"succeeded": 2, "failed": 1}),
            json!({"ready": 1}),
            "status.ready: Invalid value: 1: cannot set more ready pods than active | status.failed: Invalid value: 0: cannot decrease the failed counter | status.succeeded: Invalid value: 0: cannot decrease the succeeded counter",
        ),
        (
            json!({}),
            json!({"completedIndexes": "0-5"}),
            "status.completedIndexes: Invalid value: \"0-5\": error parsing completedIndexes: too large index: \"5\" | status.completedIndexes: Invalid value: \"0-5\": cannot set non-empty completedIndexes when non-indexed completion mode",
        ),
        (
            json!({}),
            json!({"failedIndexes": "1"}),
            "status.failedIndexes: Invalid value: \"1\": cannot set non-null failedIndexes when backoffLimitPerIndex is null",
        ),
        (
            json!({}),
            json!({"uncountedTerminatedPods": {"succeeded": ["a"], "failed": ["a", ""]}}),
            "status.uncountedTerminatedPods.failed[0]: Duplicate value: \"a\" | status.uncountedTerminatedPods.failed[1]: Invalid value: \"\": must not be empty",
        ),
        // What was wrong before does not stop other changes.
        (json!({"ready": 2, "active": 1}), json!({"ready": 2, "active": 1, "succeeded": 1}), ""),
    ] {
        assert_eq!(text(&(JOB.validate_status)(&status(new.clone()), &status(old))), expected, "{new}");
    }
}
