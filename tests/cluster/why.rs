//! `oxikube why`: the cause and the remedy in plain words.

use serde_json::Value;
use tests::{Cluster, eventually};

fn why(cluster: &Cluster, subject: &str) -> Value {
    let text = cluster.oxikube(&["why", subject, "-o", "json"]).must();
    serde_json::from_str(&text).unwrap()
}

/// Asks until the answer's cause, details or remedy say this.
fn says(cluster: &Cluster, subject: &str, wanted: &str) -> Value {
    eventually(&format!("why {subject} says {wanted:?}"), || {
        let answer = why(cluster, subject);
        if answer.to_string().contains(wanted) { Ok(answer) } else { Err(answer.to_string()) }
    })
}

/// The whole cluster: who leads, how store and certificates are, and what is not well.
fn at_a_glance(cluster: &Cluster) {
    let text = cluster.oxikube(&["status"]).must();
    for wanted in [
        "not well    node node-1: it is cordoned",
        "what to do: kubectl uncordon node-1",
        "leader      kube-scheduler node-1",
        "store       embedded, ok, ",
        "certs       good for 36",
        "node        node-1 Ready 198.51.100.10",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is not in\n{text}");
    }
    let report: Value = serde_json::from_str(&cluster.oxikube(&["status", "-o", "json"]).must()).unwrap();
    let concerns = report["concerns"].as_array().unwrap();
    assert!(concerns.iter().any(|concern| concern["what"] == "node node-1"), "{report}");
    assert!(report["certificates"][0]["daysLeft"].as_i64().unwrap() > 360, "{report}");
}

#[test]
fn causes_and_remedies() {
    let cluster = Cluster::start();
    cluster.apply(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: big}\n\
         spec: {selector: {matchLabels: {app: big}}, template: {metadata: {labels: {app: big}},\n\
         \x20 spec: {containers: [{name: c, image: nginx, imagePullPolicy: IfNotPresent,\n\
         \x20   resources: {requests: {cpu: '1000'}}}]}}}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {name: big}\n\
         spec: {selector: {app: big}, ports: [{port: 80}]}\n---\n\
         apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: disk}\n\
         spec: {accessModes: [ReadWriteOnce], storageClassName: local-path, resources: {requests: {storage: 1Mi}}}\n",
    );
    let answer = says(&cluster, "deployment/big", "node-1: Insufficient cpu");
    assert!(answer["remedy"].as_str().unwrap().contains("resources.requests"), "{answer}");
    let pods = cluster.get(&["pods", "-l", "app=big"]).unwrap();
    let pod = format!("pod/{}", pods["items"][0]["metadata"]["name"].as_str().unwrap());
    let text = cluster.oxikube(&["why", &pod]).must();
    assert!(text.contains("0/1 nodes are available: 1 Insufficient cpu.") && text.contains("what to do:"), "{text}");
    says(&cluster, "service/big", "none is ready");
    says(&cluster, "pvc/disk", "create a pod that uses the claim");

    cluster.kubectl(&["cordon", "node-1"]).must();
    says(&cluster, "node/node-1", "kubectl uncordon node-1");
    says(&cluster, &pod, "kubectl uncordon");
    at_a_glance(&cluster);
    cluster.kubectl(&["uncordon", "node-1"]).must();
    cluster.kubectl(&["set", "resources", "deployment/big", "--requests=cpu=1m"]).must();
    cluster.kubectl(&["rollout", "status", "deployment/big", "--timeout=60s"]).must();
    assert_eq!(says(&cluster, "deployment/big", "are available")["healthy"], true);

    cluster.kubectl(&["create", "namespace", "held"]).must();
    cluster.kubectl(&["create", "configmap", "c", "-n", "held"]).must();
    let held = r#"{"metadata": {"finalizers": ["example.com/held"]}}"#;
    cluster.kubectl(&["patch", "configmap", "c", "-n", "held", "-p", held]).must();
    cluster.kubectl(&["delete", "namespace", "held", "--wait=false"]).must();
    says(&cluster, "namespace/held", "example.com/held in 1 resource instances");
    let free = r#"{"metadata": {"finalizers": null}}"#;
    cluster.kubectl(&["patch", "configmap", "c", "-n", "held", "-p", free]).must();
    let error = cluster.oxikube(&["why", "pod/none"]).must_fail();
    assert!(error.contains("cannot read pods/none") && error.trim().lines().count() == 1, "{error}");
}
