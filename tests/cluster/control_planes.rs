//! `up --control-planes 3`: the cluster goes on without any one of its masters, says why it cannot without two, and comes
//! back by itself.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::{Cluster, eventually, signal};

const MANIFEST: &str = "
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: nginx, image: nginx, imagePullPolicy: IfNotPresent}]}
";

/// Every process of a machine ends at once; the machine is cut off, too, so that it stays lost.
fn lose(cluster: &Cluster, machine: &str) {
    let all: Vec<u64> = cluster.processes(machine).into_iter().map(|(_, pid)| pid).collect();
    cluster.cable(machine, "down");
    signal("-9", &all);
}

/// Tries until a write is taken.
fn write(cluster: &Cluster, name: &str) -> Duration {
    let started = Instant::now();
    eventually("a write is taken", || {
        let made = cluster.kubectl(&["--request-timeout=10s", "create", "configmap", name]);
        // An attempt that was not answered may have been taken.
        if made.ok || made.stderr.contains("already exists") { Ok(()) } else { Err(made.stderr) }
    });
    started.elapsed()
}

/// The machine of who leads.
fn leader(cluster: &Cluster, role: &str) -> String {
    eventually("somebody leads", || {
        let path = "jsonpath={.spec.holderIdentity}";
        let lease = cluster.kubectl(&["get", "lease", "-n", "kube-system", role, "-o", path]);
        lease.stdout.split_once('_').map(|(machine, _)| machine.to_owned()).ok_or(lease.stderr)
    })
}

fn all_is_well(cluster: &Cluster) {
    eventually("every master is ready", || {
        let status = cluster.status();
        let machines = status["machines"].as_array().unwrap();
        let apis = machines.iter().filter(|m| m["api"] == "ok").count();
        let complete = machines.iter().all(|m| m["processes"].as_object().unwrap().values().all(Value::is_u64));
        if apis == 3 && complete { Ok(()) } else { Err(status["machines"].to_string()) }
    });
    cluster.kubectl(&["wait", "node", "--all", "--for=condition=Ready", "--timeout=60s"]).must();
    cluster.kubectl(&["rollout", "status", "daemonset/web", "--timeout=60s"]).must();
}

/// The pod of this machine answers on the machine itself.
fn page(cluster: &Cluster, machine: &str, address: &str) {
    let net = format!("--net={}", cluster.machine_netns(machine).display());
    let url = format!("http://{address}/");
    let fetched = Command::new("nsenter").args([&net, "curl", "-s", "-m", "5", &url]).output().unwrap();
    assert!(String::from_utf8_lossy(&fetched.stdout).contains("nginx"), "{fetched:?}");
}

fn one_of_three_is_lost(cluster: &Cluster) -> String {
    let lost = leader(cluster, "kube-controller-manager");
    lose(cluster, &lost);
    let (written, since) = (write(cluster, "one-lost"), Instant::now());
    cluster.kubectl(&["get", "configmap", "one-lost"]).must();
    for role in ["kube-controller-manager", "kube-scheduler"] {
        eventually("another one leads", || match leader(cluster, role) {
            next if next != lost => Ok(()),
            next => Err(next),
        });
    }
    eprintln!("written after {written:?}, others lead {:?} later", since.elapsed());
    // Whoever leads has work done: a pod on a node that is left.
    cluster
        .kubectl(&[
            "delete",
            "pod",
            "-l",
            "app=web",
            "--field-selector",
            &format!("spec.nodeName={}", cluster.machine(4)),
        ])
        .must();
    eventually("its successor runs", || {
        let pods = cluster.get(&[
            "pods",
            "-l",
            "app=web",
            "--field-selector",
            &format!("spec.nodeName={}", cluster.machine(4)),
        ])?;
        let pod = pods["items"].as_array().and_then(|pods| pods.first()).cloned().unwrap_or_default();
        let ready =
            pod["status"]["containerStatuses"][0]["ready"] == true && pod["metadata"]["deletionTimestamp"].is_null();
        if ready { Ok(()) } else { Err(pod["status"].to_string()) }
    });
    lost
}

fn two_of_three_are_lost(cluster: &Cluster, first: &str) {
    let worker = cluster.machine(4);
    let on_worker = ["pods", "-l", "app=web", "--field-selector", &format!("spec.nodeName={worker}")];
    let address = cluster.get(&on_worker).unwrap()["items"][0]["status"]["podIP"].as_str().unwrap().to_owned();
    let second = (1..=3).map(|number| cluster.machine(number)).find(|name| name != first).unwrap();
    lose(cluster, &second);
    for request in [["get", "configmaps"].as_slice(), &["create", "configmap", "refused"]] {
        eventually("it is refused, and said why", || {
            let refused = cluster.kubectl(request);
            assert!(!refused.ok, "{refused:?}");
            if refused.stderr.contains("more than half of its members") { Ok(()) } else { Err(refused.stderr) }
        });
    }
    page(cluster, &worker, &address);
    cluster.cable(&second, "up");
    let back = write(cluster, "two-again");
    eprintln!("written {back:?} after the second one was there again");
    cluster.kubectl(&["get", "configmap", "one-lost"]).must();
    cluster.cable(first, "up");
    all_is_well(cluster);
}

fn who_ends_is_started_anew(cluster: &Cluster) {
    for (part, pid) in cluster.processes(&cluster.machine(2)) {
        signal("-9", &[pid]);
        eventually("it runs again", || {
            let now = cluster.processes(&cluster.machine(2));
            let again = now.iter().any(|(other, new)| *other == part && *new != pid);
            if again { Ok(()) } else { Err(format!("{part}: {now:?}")) }
        });
    }
    all_is_well(cluster);
    // Who looks after them ends: they go on, and the next one finds them.
    let before = cluster.processes(&cluster.machine(3));
    cluster.kill_server();
    cluster.up_machines(&[]);
    assert_eq!(cluster.processes(&cluster.machine(3)), before);
}

#[test]
fn three_masters_survive_the_loss_of_one() {
    let cluster = Cluster::prepared();
    cluster.up_machines(&[
        "--control-planes=3",
        "--nodes=4",
        // Pods stay where they are while masters come and go.
        "--default-not-ready-toleration-seconds=600",
        "--default-unreachable-toleration-seconds=600",
    ]);
    cluster.import_nginx();
    cluster.apply(MANIFEST);
    all_is_well(&cluster);
    let first = one_of_three_is_lost(&cluster);
    two_of_three_are_lost(&cluster, &first);
    who_ends_is_started_anew(&cluster);
    for pod in cluster.get(&["pods", "-l", "app=web"]).unwrap()["items"].as_array().unwrap() {
        assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0, "{pod}");
    }
    cluster.oxikube(&["down"]).must();
    cluster.left_nothing();
    cluster.up_machines(&[]);
    cluster.kubectl(&["get", "configmap", "two-again"]).must();
    cluster.oxikube(&["down", "--purge"]).must();
    cluster.left_nothing();
    assert!(!cluster.directory().exists());
}
