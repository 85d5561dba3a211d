//! Storage on demand: claims, volumes, and what becomes of the data.

use std::path::PathBuf;

use serde_json::Value;
use tests::{Cluster, eventually};

fn claim(name: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: {name}}}\n\
         spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}{more}}}\n"
    )
}

/// A pod that runs for ever with a volume at /data.
fn pod(name: &str, volume: &str, mount: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n\
         spec:\n  terminationGracePeriodSeconds: 0\n  volumes: [{{name: v, {volume}}}]\n\
         \x20 containers:\n  - {{name: c, image: nginx, imagePullPolicy: IfNotPresent, command: [sleep, '100000'],\n\
         \x20    volumeMounts: [{{name: v, mountPath: /data{mount}}}]}}\n"
    )
}

fn ready(cluster: &Cluster, name: &str) {
    cluster.kubectl(&["wait", "pod", name, "--for=condition=Ready", "--timeout=60s"]).must();
}

fn phase(cluster: &Cluster, kind: &str, name: &str, wanted: &str) -> Value {
    eventually(&format!("{kind} {name} is {wanted}"), || {
        let object = cluster.get(&[kind, name])?;
        if object["status"]["phase"] == wanted { Ok(object) } else { Err(object["status"].to_string()) }
    })
}

fn gone(cluster: &Cluster, kind: &str, name: &str) {
    eventually(&format!("{kind} {name} is gone"), || match cluster.get(&[kind, name]) {
        Err(error) if error.contains("not found") => Ok(()),
        Err(error) => Err(error),
        Ok(object) => Err(object["metadata"].to_string()),
    });
}

fn read(cluster: &Cluster, pod: &str, path: &str) -> String {
    cluster.kubectl(&["exec", pod, "--", "cat", path]).must()
}

fn unschedulable(cluster: &Cluster, pod: &str, because: &str) {
    eventually(&format!("{pod} says why it waits"), || {
        let pod = cluster.get(&["pod", pod])?;
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let said = conditions.iter().filter_map(|c| c["message"].as_str()).any(|m| m.contains(because));
        if said { Ok(()) } else { Err(pod["status"].to_string()) }
    });
}

#[test]
fn data_outlives_pods_and_the_server_and_goes_with_its_claim() {
    let cluster = Cluster::start();
    eventually("the default class is there", || cluster.get(&["storageclass", "local-path"]).map(drop));
    cluster.apply(&claim("data", ""));
    assert_eq!(cluster.get(&["pvc", "data"]).unwrap()["spec"]["storageClassName"], "local-path");
    let of_claim = "persistentVolumeClaim: {claimName: data}";
    cluster.apply(&pod("first", of_claim, ""));
    ready(&cluster, "first");
    let bound = phase(&cluster, "pvc", "data", "Bound");
    let volume = bound["spec"]["volumeName"].as_str().unwrap().to_owned();
    cluster.kubectl(&["exec", "first", "--", "sh", "-c", "echo kept > /data/f"]).must();
    let folder = PathBuf::from(cluster.get(&["pv", &volume]).unwrap()["spec"]["local"]["path"].as_str().unwrap());
    assert_eq!(std::fs::read_to_string(folder.join("f")).unwrap(), "kept\n");

    cluster.kubectl(&["delete", "pod", "first"]).must();
    cluster.apply(&pod("second", of_claim, ""));
    ready(&cluster, "second");
    assert_eq!(read(&cluster, "second", "/data/f"), "kept\n");
    cluster.kill_server();
    cluster.up(&[]);
    ready(&cluster, "second");
    assert_eq!(read(&cluster, "second", "/data/f"), "kept\n");

    let grown = r#"{"spec": {"resources": {"requests": {"storage": "2Gi"}}}}"#;
    cluster.kubectl(&["patch", "pvc", "data", "-p", grown]).must();
    eventually("the claim has grown", || {
        let status = cluster.get(&["pvc", "data"])?["status"].clone();
        if status["capacity"]["storage"] == "2Gi" { Ok(()) } else { Err(status.to_string()) }
    });

    cluster.kubectl(&["delete", "pvc", "data", "--wait=false"]).must();
    let leaving = cluster.get(&["pvc", "data"]).unwrap();
    assert!(leaving["metadata"]["deletionTimestamp"].is_string(), "a pod uses it: {leaving}");
    cluster.kubectl(&["delete", "pod", "second"]).must();
    gone(&cluster, "pvc", "data");
    gone(&cluster, "pv", &volume);
    assert!(!folder.exists(), "{} is still there", folder.display());
}

#[test]
fn a_volume_that_is_there_already_is_bound_and_retained() {
    let cluster = Cluster::start();
    let folder = cluster.directory().join("by-hand");
    cluster.apply(&format!(
        "apiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: by-hand}}\n\
         spec: {{capacity: {{storage: 5Gi}}, accessModes: [ReadWriteOnce], storageClassName: manual,\n\
         \x20 persistentVolumeReclaimPolicy: Retain, hostPath: {{path: {}, type: DirectoryOrCreate}}}}\n",
        folder.display()
    ));
    phase(&cluster, "pv", "by-hand", "Available");
    cluster.apply(&claim("data", ", storageClassName: manual"));
    let bound = phase(&cluster, "pvc", "data", "Bound");
    assert_eq!(bound["status"]["capacity"]["storage"], "5Gi");
    cluster.apply(&pod("writer", "persistentVolumeClaim: {claimName: data}", ", subPath: part"));
    ready(&cluster, "writer");
    cluster.kubectl(&["exec", "writer", "--", "sh", "-c", "echo x > /data/f"]).must();
    let error = cluster.kubectl(&["patch", "pvc", "data", "-p", r#"{"spec": {"volumeName": "other"}}"#]).must_fail();
    assert!(error.contains("spec is immutable after creation except resources.requests"), "{error}");
    let grown = r#"{"spec": {"resources": {"requests": {"storage": "2Gi"}}}}"#;
    let error = cluster.kubectl(&["patch", "pvc", "data", "-p", grown]).must_fail();
    assert!(error.contains("only dynamically provisioned pvc can be resized"), "{error}");
    cluster.kubectl(&["delete", "pod", "writer"]).must();
    cluster.apply(&pod("reader", "persistentVolumeClaim: {claimName: data, readOnly: true}", ""));
    ready(&cluster, "reader");
    assert_eq!(read(&cluster, "reader", "/data/part/f"), "x\n");
    let error = cluster.kubectl(&["exec", "reader", "--", "touch", "/data/g"]).must_fail();
    assert!(error.contains("Read-only file system"), "{error}");
    cluster.kubectl(&["delete", "pod", "reader"]).must();
    cluster.kubectl(&["delete", "pvc", "data"]).must();
    phase(&cluster, "pv", "by-hand", "Released");
    assert_eq!(std::fs::read_to_string(folder.join("part/f")).unwrap(), "x\n");
}

#[test]
fn claims_of_one_pod_alone() {
    let cluster = Cluster::start();
    eventually("the default class is there", || cluster.get(&["storageclass", "local-path"]).map(drop));
    let template = "ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], \
                    resources: {requests: {storage: 1Mi}}}}}";
    cluster.apply(&pod("own", template, ""));
    ready(&cluster, "own");
    phase(&cluster, "pvc", "own-v", "Bound");
    cluster.kubectl(&["delete", "pod", "own"]).must();
    gone(&cluster, "pvc", "own-v");

    cluster.apply(&claim("single", "").replace("ReadWriteOnce", "ReadWriteOncePod"));
    let of_claim = "persistentVolumeClaim: {claimName: single}";
    cluster.apply(&pod("one", of_claim, ""));
    ready(&cluster, "one");
    cluster.apply(&pod("two", of_claim, ""));
    unschedulable(&cluster, "two", "ReadWriteOncePod access mode");
    cluster.kubectl(&["delete", "pod", "one"]).must();
    ready(&cluster, "two");

    cluster.apply(&pod("lost", "persistentVolumeClaim: {claimName: nowhere}", ""));
    unschedulable(&cluster, "lost", "0/1 nodes are available: persistentvolumeclaim \"nowhere\" not found.");
    cluster.apply(&claim("nowhere", ""));
    ready(&cluster, "lost");
}

#[test]
fn a_pod_that_keeps_more_than_it_may_is_evicted() {
    let cluster = Cluster::start();
    cluster.apply(&pod("small", "emptyDir: {sizeLimit: 2Mi}", ""));
    cluster.apply(&pod("free", "emptyDir: {}", ""));
    for name in ["small", "free"] {
        ready(&cluster, name);
        cluster.kubectl(&["exec", name, "--", "dd", "if=/dev/zero", "of=/data/f", "bs=1M", "count=4"]).must();
    }
    let failed = phase(&cluster, "pod", "small", "Failed");
    assert_eq!(failed["status"]["reason"], "Evicted");
    assert_eq!(failed["status"]["message"], "Usage of EmptyDir volume \"v\" exceeds the limit \"2Mi\". ");
    assert_eq!(cluster.get(&["pod", "free"]).unwrap()["status"]["phase"], "Running");
}
