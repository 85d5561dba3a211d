//! The server is killed: nothing that was acknowledged is lost, no container is disturbed.

use serde_json::Value;
use tests::{Cluster, eventually};

#[test]
fn acknowledged_objects_survive_kill_9_in_a_write_load() {
    let cluster = Cluster::start();
    let mut acknowledged = Vec::new();
    for round in 0..10 {
        let pid = cluster.server_pid().to_string();
        let mut killer = std::process::Command::new("sh");
        let delay = format!("sleep 0.{}; kill -9 {pid}", 1 + round % 4);
        let mut killer = killer.args(["-c", &delay]).spawn().unwrap();
        for i in 0..200 {
            let name = format!("c{round}-{i}");
            let made = cluster.kubectl(&["create", "configmap", &name, &format!("--from-literal=k={name}")]);
            if !made.ok {
                break;
            }
            acknowledged.push(name);
        }
        assert!(killer.wait().unwrap().success());
        let status = cluster.oxikube(&["status"]);
        assert!(status.stdout.contains("crashed"), "{}", status.stdout);
        cluster.up(&[]);
        let list = cluster.get(&["configmaps"]).unwrap();
        let there: Vec<&Value> = list["items"].as_array().unwrap().iter().collect();
        for name in &acknowledged {
            let found = there.iter().find(|c| c["metadata"]["name"] == name.as_str());
            assert_eq!(found.map(|c| &c["data"]["k"]), Some(&Value::from(name.as_str())), "{name}");
        }
    }
    assert!(acknowledged.len() > 10, "only {} writes were tried", acknowledged.len());
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
