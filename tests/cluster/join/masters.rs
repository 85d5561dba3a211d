//! Masters on machines of their own, as kubeadm makes them: each joins with a member of etcd, any one may be lost, and one that
//! leaves is missed by nobody.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tests::{Cluster, Machine, Output, eventually, signal};

use super::{Way, init, nothing_is_left, refused};

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {kubernetes.io/hostname: worker}
      terminationGracePeriodSeconds: 1
      containers: [{name: nginx, image: nginx}]
";

fn join_master(way: &Way, key: &str, machine: &Machine, name: &str, timeout: &str) -> Output {
    way.join(machine, &["--node-name", name, "--control-plane", "--certificate-key", key, "--timeout", timeout])
}

#[test]
fn masters_join_are_lost_and_leave() {
    let cluster = Cluster::prepared();
    let printed = init(&cluster, &["--upload-certs"]).must();
    let way = Way::of(&printed);
    let key = printed.split_once("--certificate-key ").unwrap().1.split_whitespace().next().unwrap();
    let [second, third, worker] = [20, 30, 40].map(|last| Machine::beside(&cluster, last));
    refused(join_master(&way, &"0".repeat(64), &second, "second", "90s"), "--certificate-key is not the right one");
    refused(join_master(&way, "12", &second, "second", "90s"), "64 hexadecimal digits");
    join_master(&way, key, &second, "second", "90s").must();
    way.join(&worker, &["--node-name", "worker"]).must();
    assert_eq!(servers(&worker).len(), 2);
    // One that breaks off, wherever it is, is run again.
    let broken = join_master(&way, key, &third, "third", "1s");
    assert!(broken.ok || broken.stderr.contains("run the same command again"), "{broken:?}");
    join_master(&way, key, &third, "third", "90s").must();
    join_master(&way, key, &third, "third", "90s").must();
    refused(way.join(&third, &["--node-name", "third"]), "is a master's");
    let nodes = third.kubectl(&["get", "nodes", "--no-headers"], None).must();
    let masters = nodes.lines().filter(|line| line.contains(" Ready ") && line.contains("control-plane"));
    assert_eq!((masters.count(), nodes.lines().count()), (3, 4), "{nodes}");
    eventually("the worker knows all masters", || match servers(&worker) {
        all if all.len() == 3 => Ok(()),
        some => Err(format!("{some:?}")),
    });

    the_first_is_lost(&cluster, &second, &worker);
    init(&cluster, &[]).must();
    let seen = cluster.kubectl(&["get", "deployment", "web"]).must();
    assert!(seen.contains("1/1"), "what was written without it is there: {seen}");

    let left = third.oxikube(&["reset"]).must();
    assert!(left.contains("node third removed from the cluster"), "{left}");
    nothing_is_left(&third);
    eventually("the worker leaves the third alone", || match servers(&worker) {
        rest if rest.len() == 2 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let gone = second.kubectl(&["get", "node", "third"], None).must_fail();
    assert!(gone.contains("NotFound"), "{gone}");
    let left = worker.oxikube(&["reset"]).must();
    assert!(left.contains("node worker removed from the cluster"), "{left}");
    let left = second.oxikube(&["reset"]).must();
    assert!(left.contains("node second removed from the cluster"), "{left}");
    nothing_is_left(&second);
    cluster.kubectl(&["create", "configmap", "alone"]).must();
    refused(cluster.oxikube(&["reset"]), "--force");
    cluster.oxikube(&["reset", "--force"]).must();
}

/// The API servers that a worker knows.
fn servers(worker: &Machine) -> Vec<Value> {
    let told = std::fs::read_to_string(worker.directory().join("node.json")).unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    told["servers"].as_array().cloned().unwrap_or_default()
}

/// Server and etcd of the first master end at once; the others, and the worker, go on.
fn the_first_is_lost(cluster: &Cluster, second: &Machine, worker: &Machine) {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/nginx.tar");
    worker.oxikube(&["image", "import", &archive.display().to_string()]).must();
    let member = format!("--data-dir={}", cluster.directory().join("etcd").display());
    let etcd = Command::new("pgrep").args(["-f", "--", &member]).output().unwrap();
    let etcd = String::from_utf8_lossy(&etcd.stdout).lines().next().unwrap().parse().unwrap();
    signal("-9", &[cluster.server_pid().unsigned_abs(), etcd]);
    eventually("a write is taken", || {
        let applied = second.kubectl(&["--request-timeout=10s", "apply", "-f", "-"], Some(DEPLOYMENT));
        if applied.ok { Ok(()) } else { Err(applied.stderr) }
    });
    eventually("a pod is made, placed and started on the worker", || {
        let rolled = second.kubectl(&["rollout", "status", "deployment/web", "--timeout=20s"], None);
        if rolled.ok { Ok(()) } else { Err(rolled.stderr) }
    });
}
