//! Workloads beside Deployments: Jobs, CronJobs, StatefulSets, ReplicationControllers; and what guards them.

use serde_json::Value;
use tests::{Cluster, eventually};

/// A pod template whose container runs a script.
fn template(script: &str) -> String {
    let container = format!("{{name: c, image: nginx, imagePullPolicy: IfNotPresent, command: [sh, -c, '{script}']}}");
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
    cluster.apply(&job(
        "indexed",
        "completions: 3, parallelism: 2, completionMode: Indexed",
        "echo $JOB_COMPLETION_INDEX",
    ));
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
    // Of two that began in one second the history keeps the one whose name comes last.
    cluster.kubectl(&["create", "job", "with-hands", "--from=cronjob/tick"]).must();
    wait(&cluster, "complete", "job/with-hands");
    cluster.kubectl(&["delete", "cronjob", "tick"]).must();
}

fn names(cluster: &Cluster, label: &str) -> Vec<String> {
    let pods = cluster.get(&["pods", "-l", label]).unwrap();
    let mut names: Vec<String> =
        pods["items"].as_array().unwrap().iter().map(|p| p["metadata"]["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// Pods that run nginx, under a label.
fn server(app: &str, more: &str) -> String {
    format!(
        "{{metadata: {{labels: {{app: {app}}}}}, spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: c, image: nginx, imagePullPolicy: IfNotPresent{more}}}]}}}}"
    )
}

#[test]
fn stateful_sets_keep_names_and_order() {
    let cluster = Cluster::start();
    cluster.apply(&format!(
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: web}}\n\
         spec: {{serviceName: web, replicas: 2, selector: {{matchLabels: {{app: web}}}}, template: {}}}\n",
        server("web", "")
    ));
    cluster.kubectl(&["rollout", "status", "statefulset/web", "--timeout=60s"]).must();
    assert_eq!(names(&cluster, "app=web"), ["web-0", "web-1"]);
    assert_eq!(cluster.kubectl(&["exec", "web-1", "--", "cat", "/proc/sys/kernel/hostname"]).must().trim(), "web-1");
    let born = |pod: &str| cluster.get(&["pod", pod]).unwrap()["status"]["startTime"].as_str().unwrap().to_owned();
    assert!(born("web-0") <= born("web-1"));

    cluster.kubectl(&["set", "env", "statefulset/web", "A=b"]).must();
    cluster.kubectl(&["rollout", "status", "statefulset/web", "--timeout=60s"]).must();
    cluster.kubectl(&["rollout", "undo", "statefulset/web"]).must();
    cluster.kubectl(&["rollout", "status", "statefulset/web", "--timeout=60s"]).must();
    cluster.kubectl(&["scale", "statefulset", "web", "--replicas=1"]).must();
    eventually("the highest is gone", || match names(&cluster, "app=web").as_slice() {
        [one] if one == "web-0" => Ok(()),
        others => Err(format!("{others:?}")),
    });
}

#[test]
fn replication_controllers_keep_their_number() {
    let cluster = Cluster::start();
    cluster.apply(&format!(
        "apiVersion: v1\nkind: ReplicationController\nmetadata: {{name: old}}\n\
         spec: {{replicas: 1, selector: {{app: old}}, template: {}}}\n",
        server("old", "")
    ));
    cluster.kubectl(&["scale", "rc", "old", "--replicas=2"]).must();
    eventually("both are ready", || {
        let status = status(&cluster, "rc/old");
        if status["readyReplicas"] == 2 { Ok(()) } else { Err(status.to_string()) }
    });
    cluster.kubectl(&["delete", "rc", "old"]).must();
}

#[test]
fn a_drain_respects_budgets() {
    let cluster = Cluster::start();
    cluster.apply(&format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\n\
         spec: {{replicas: 2, selector: {{matchLabels: {{app: web}}}}, template: {}}}\n",
        server("web", "")
    ));
    cluster.kubectl(&["create", "poddisruptionbudget", "web", "--selector=app=web", "--min-available=2"]).must();
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]).must();
    eventually("the budget knows its pods", || {
        let status = status(&cluster, "pdb/web");
        if status["currentHealthy"] == 2 { Ok(()) } else { Err(status.to_string()) }
    });
    let drain =
        |timeout: &str| cluster.kubectl(&["drain", "node-1", "--ignore-daemonsets", "--delete-emptydir-data", timeout]);
    let refused = drain("--timeout=2s").must_fail();
    assert!(refused.contains("Cannot evict pod as it would violate the pod's disruption budget."), "{refused}");
    assert_eq!(status(&cluster, "deployment/web")["readyReplicas"], 2);
    cluster.kubectl(&["patch", "pdb", "web", "-p", r#"{"spec":{"minAvailable":0}}"#]).must();
    drain("--timeout=60s").must();
}

/// A request for a client's certificate with this subject.
fn signing_request(cluster: &Cluster, name: &str, subject: &str) -> String {
    let script =
        format!("openssl req -new -newkey rsa:2048 -nodes -keyout /dev/null -subj {subject} 2>/dev/null | base64 -w0");
    let made = cluster.command("sh").args(["-c", &script]).output().unwrap();
    let request = String::from_utf8(made.stdout).unwrap();
    assert!(!request.is_empty(), "openssl made no request");
    format!(
        "apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {{name: {name}}}\n\
         spec: {{request: {request}, signerName: kubernetes.io/kube-apiserver-client, usages: [client auth]}}\n"
    )
}

#[test]
fn certificates_are_signed_once_somebody_who_may_has_approved() {
    let cluster = Cluster::prepared();
    cluster.up(&[]);
    let masters = signing_request(&cluster, "root", "/O=system:masters/CN=root");
    let refused = cluster.kubectl_with(&["create", "-f", "-"], Some(&masters)).must_fail();
    assert!(refused.contains("signer with system:masters group is not allowed"), "{refused}");

    cluster.apply(&signing_request(&cluster, "jane", "/CN=jane"));
    let door = "--resource=certificatesigningrequests,certificatesigningrequests/approval";
    cluster.kubectl(&["create", "clusterrole", "door", "--verb=get,update", door]).must();
    cluster.kubectl(&["create", "clusterrolebinding", "door", "--clusterrole=door", "--user=bob"]).must();
    let refused = cluster.kubectl(&["certificate", "approve", "jane", "--as=bob"]).must_fail();
    let why = "user not permitted to approve requests with signerName \"kubernetes.io/kube-apiserver-client\"";
    assert!(refused.contains(why), "{refused}");
    let approver = "--clusterrole=system:certificates.k8s.io:kube-apiserver-client-approver";
    cluster.kubectl(&["create", "clusterrolebinding", "approver", approver, "--user=bob"]).must();
    cluster.kubectl(&["certificate", "approve", "jane", "--as=bob"]).must();
    eventually("the certificate is there", || {
        let status = status(&cluster, "csr/jane");
        if status["certificate"].is_string() { Ok(()) } else { Err(status.to_string()) }
    });
}
