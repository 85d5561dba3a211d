//! The tutorial: deploy, scale, update, roll back, look inside, delete.

use serde_json::Value;
use tests::{Cluster, eventually};

fn manifest() -> String {
    format!("{}/../examples/nginx.yaml", env!("CARGO_MANIFEST_DIR"))
}

fn available(cluster: &Cluster, wanted: i64) {
    eventually("the deployment is available", || {
        let status = cluster.get(&["deployment", "nginx"])?["status"].clone();
        let number = |field: &str| status[field].as_i64().unwrap_or(0);
        if number("availableReplicas") == wanted && number("replicas") == wanted && number("updatedReplicas") == wanted
        {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
}

fn pods(cluster: &Cluster) -> Vec<Value> {
    let list = cluster.get(&["pods", "-l", "app=nginx"]).unwrap();
    list["items"].as_array().unwrap().clone()
}

#[test]
fn deploy_scale_update_roll_back() {
    let cluster = Cluster::start();
    cluster.up(&["-f", &manifest()]);
    available(&cluster, 3);

    let name = pods(&cluster)[0]["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(cluster.kubectl(&["exec", &name, "--", "curl", "-s", "localhost"]).must().contains("Welcome to nginx"));
    assert!(cluster.kubectl(&["logs", &name]).must().contains("start worker process"));
    assert!(cluster.kubectl(&["describe", "pod", &name]).must().contains("Started"));

    cluster.kubectl(&["scale", "deployment", "nginx", "--replicas=5"]).must();
    available(&cluster, 5);
    cluster.kubectl(&["scale", "deployment", "nginx", "--replicas=2"]).must();
    available(&cluster, 2);

    cluster.kubectl(&["set", "image", "deployment/nginx", "nginx=docker.io/library/nginx:latest"]).must();
    cluster.kubectl(&["rollout", "status", "deployment/nginx", "--timeout=60s"]).must();
    cluster.kubectl(&["rollout", "undo", "deployment/nginx", "--to-revision=1"]).must();
    cluster.kubectl(&["rollout", "status", "deployment/nginx", "--timeout=60s"]).must();
    available(&cluster, 2);
    assert!(pods(&cluster).iter().all(|p| p["spec"]["containers"][0]["image"] == "nginx"));

    let victim = pods(&cluster)[0]["metadata"]["name"].as_str().unwrap().to_owned();
    cluster.kubectl(&["delete", "pod", &victim, "--wait=false"]).must();
    eventually("the pod is replaced", || {
        let names: Vec<Value> = pods(&cluster).iter().map(|p| p["metadata"]["name"].clone()).collect();
        if names.len() == 2 && !names.contains(&victim.clone().into()) { Ok(()) } else { Err(format!("{names:?}")) }
    });

    cluster.kubectl(&["delete", "deployment", "nginx"]).must();
    eventually("its pods are gone", || match pods(&cluster).len() {
        0 => Ok(()),
        n => Err(format!("{n} are left")),
    });
}

#[test]
fn a_second_up_finds_everything_in_place() {
    let cluster = Cluster::start();
    cluster.up(&["-f", &manifest()]);
    let before: Vec<Value> = pods(&cluster).iter().map(|p| p["metadata"]["uid"].clone()).collect();
    let said = cluster.up(&["-f", &manifest()]);
    assert!(said.contains("runs already"), "{said}");
    let after: Vec<Value> = pods(&cluster).iter().map(|p| p["metadata"]["uid"].clone()).collect();
    assert_eq!(before, after);
}
