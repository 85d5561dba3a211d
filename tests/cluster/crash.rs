//! The server is killed: nothing that was acknowledged is lost, no container is disturbed.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use tests::{Cluster, eventually, signal};

/// Creates objects one after the other until the server is gone; each that was acknowledged is noted.
fn write(cluster: &Cluster, prefix: &str, acknowledged: &Mutex<Vec<String>>) {
    for i in 0..1000 {
        let name = format!("{prefix}-{i}");
        if !cluster.kubectl(&["create", "configmap", &name, &format!("--from-literal=k={name}")]).ok {
            return;
        }
        acknowledged.lock().unwrap().push(name);
    }
}

#[test]
fn acknowledged_objects_survive_kill_9_in_a_write_load() {
    let cluster = Cluster::start();
    let acknowledged = Mutex::new(Vec::new());
    let count = || acknowledged.lock().unwrap().len();
    for round in 0..10 {
        let (pid, before) = (cluster.server_pid().unsigned_abs(), count());
        std::thread::scope(|scope| {
            for writer in 0..3 {
                let (cluster, acknowledged) = (&cluster, &acknowledged);
                scope.spawn(move || write(cluster, &format!("c{round}-{writer}"), acknowledged));
            }
            eventually("the load is on", || {
                let written = count() - before;
                if written > 3 { Ok(()) } else { Err(format!("{written} objects")) }
            });
            // Each time at another point of what goes on.
            std::thread::sleep(Duration::from_millis(17 * round));
            signal("-9", &[pid]);
        });
        let status = cluster.oxikube(&["status"]);
        assert!(status.stdout.contains("crashed"), "{}", status.stdout);
        cluster.up(&[]);
        let list = cluster.get(&["configmaps"]).unwrap();
        let there: Vec<&Value> = list["items"].as_array().unwrap().iter().collect();
        for name in acknowledged.lock().unwrap().iter() {
            let found = there.iter().find(|c| c["metadata"]["name"] == name.as_str());
            assert_eq!(found.map(|c| &c["data"]["k"]), Some(&Value::from(name.as_str())), "{name}");
        }
    }
}

#[test]
fn containers_keep_their_processes() {
    let cluster = Cluster::start();
    // As a new user types it: the policy is Always then, and an imported image will do nevertheless.
    cluster.kubectl(&["run", "web", "--image=nginx"]).must();
    cluster.kubectl(&["wait", "pod/web", "--for=condition=Ready", "--timeout=60s"]).must();
    let process = || cluster.kubectl(&["exec", "web", "--", "stat", "-c", "%Y", "/proc/1"]).must();
    let before =
        (process(), cluster.get(&["pod", "web"]).unwrap()["status"]["containerStatuses"][0]["containerID"].clone());
    cluster.kill_server();
    cluster.up(&[]);
    cluster.kubectl(&["wait", "pod/web", "--for=condition=Ready", "--timeout=60s"]).must();
    let status = cluster.get(&["pod", "web"]).unwrap()["status"]["containerStatuses"][0].clone();
    assert_eq!((process(), status["containerID"].clone()), before);
    assert_eq!(status["restartCount"], 0);
}

#[test]
fn a_killed_container_comes_back() {
    let cluster = Cluster::start();
    cluster.kubectl(&["run", "web", "--image=nginx", "--image-pull-policy=IfNotPresent"]).must();
    cluster.kubectl(&["wait", "pod/web", "--for=condition=Ready", "--timeout=60s"]).must();
    drop(cluster.kubectl(&["exec", "web", "--", "sh", "-c", "kill -9 1; kill -QUIT 1"]));
    eventually("the container was restarted", || {
        let status = cluster.get(&["pod", "web"])?["status"]["containerStatuses"][0].clone();
        if status["restartCount"] == 1 && status["ready"] == true { Ok(()) } else { Err(status.to_string()) }
    });
}

#[test]
fn default_roles_of_an_older_version_get_what_is_new() {
    let cluster = Cluster::prepared();
    cluster.up(&[]);
    // As an older version left them: with less, with something of the operator's own, and one that is not to be touched.
    let rules = |kept: &str| {
        format!(
            r#"{{"metadata":{{"annotations":{kept}}},"rules":[{{"verbs":["get"],"apiGroups":[""],"resources":["podtemplates"]}}]}}"#
        )
    };
    let patch = |role: &str, patch: &str| {
        cluster.kubectl(&["patch", "clusterrole", role, "--type=merge", "-p", patch]).must();
    };
    patch("system:basic-user", &rules("{}"));
    patch("system:monitoring", &rules(r#"{"rbac.authorization.kubernetes.io/autoupdate":"false"}"#));
    let subjects = r#"{"subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"me"}]}"#;
    cluster.kubectl(&["patch", "clusterrolebinding", "system:basic-user", "--type=merge", "-p", subjects]).must();
    cluster.kill_server();
    cluster.up(&[]);
    let count =
        |kind: &str, name: &str, field: &str| cluster.get(&[kind, name]).unwrap()[field].as_array().unwrap().len();
    assert!(count("clusterrole", "system:basic-user", "rules") > 1);
    assert_eq!(count("clusterrole", "system:monitoring", "rules"), 1);
    assert_eq!(count("clusterrolebinding", "system:basic-user", "subjects"), 2);
    let may = |user: &str| cluster.kubectl(&["auth", "can-i", "get", "podtemplates", "--as", user]).ok;
    assert!(may("me") && may("somebody"), "own rules and the group of everybody are there");
}
