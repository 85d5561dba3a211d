//! Several nodes: pods reach pods and services across them, a node may be emptied, lost, and come back.

use serde_json::Value;
use tests::{Cluster, eventually};

const MANIFEST: &str = "
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: nginx, image: nginx, imagePullPolicy: IfNotPresent}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: roaming}
spec:
  replicas: 6
  selector: {matchLabels: {app: roaming}}
  template:
    metadata: {labels: {app: roaming}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: nginx, image: nginx, imagePullPolicy: IfNotPresent}]
";

fn start() -> Cluster {
    let cluster = Cluster::prepared();
    cluster.up(&[
        "--nodes=3",
        "--node-monitor-grace-period=6s",
        "--default-not-ready-toleration-seconds=2",
        "--default-unreachable-toleration-seconds=2",
    ]);
    cluster.import_nginx();
    cluster
}

/// Name, node and address of the pods with a label.
fn pods(cluster: &Cluster, app: &str) -> Result<Vec<(String, String, String)>, String> {
    let list = cluster.get(&["pods", "-l", &format!("app={app}")])?;
    let text = |pod: &Value, pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let items =
        list["items"].as_array().into_iter().flatten().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    Ok(items
        .map(|pod| (text(pod, "/metadata/name"), text(pod, "/spec/nodeName"), text(pod, "/status/podIP")))
        .collect())
}

fn rollout(cluster: &Cluster) {
    for what in ["daemonset/web", "deployment/roaming"] {
        cluster.kubectl(&["rollout", "status", what, "--timeout=90s"]).must();
    }
}

/// Asks for a page inside a pod.
fn fetch(cluster: &Cluster, pod: &str, url: &str) {
    eventually(&format!("{url} answers in {pod}"), || {
        let page = cluster.kubectl(&["exec", pod, "--", "curl", "-sk", "-m", "3", url]);
        if page.ok && !page.stdout.is_empty() { Ok(()) } else { Err(format!("{}{}", page.stdout, page.stderr)) }
    });
}

fn everybody_reaches_everybody(cluster: &Cluster) {
    let web = pods(cluster, "web").unwrap();
    assert_eq!(web.len(), 3);
    for (pod, ..) in &web {
        for (_, _, address) in &web {
            fetch(cluster, pod, &format!("http://{address}/"));
        }
        fetch(cluster, pod, "http://web.default.svc.cluster.local/");
        fetch(cluster, pod, "https://kubernetes.default.svc.cluster.local/version");
        fetch(cluster, pod, &format!("https://{}:6443/version", cluster.address()));
    }
}

/// What a node's condition Ready says.
fn ready(cluster: &Cluster, node: &str, wanted: &str) {
    eventually(&format!("{node} is {wanted}"), || {
        let node = cluster.get(&["node", node])?;
        let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.iter().find(|c| c["type"] == "Ready").map(|c| c["status"].clone());
        if ready == Some(wanted.into()) { Ok(()) } else { Err(format!("{ready:?}")) }
    });
}

#[test]
fn three_nodes_are_one_cluster() {
    let cluster = start();
    let (second, third) = (cluster.machine(1), cluster.machine(2));
    cluster.apply(MANIFEST);
    rollout(&cluster);
    everybody_reaches_everybody(&cluster);

    // Emptied for maintenance: what can go elsewhere goes.
    let drain = ["drain", &second, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s"];
    cluster.kubectl(&drain).must();
    rollout(&cluster);
    assert!(pods(&cluster, "roaming").unwrap().iter().all(|(_, node, _)| *node != second));
    cluster.kubectl(&["uncordon", &second]).must();

    // Cut off: its pods are replaced, and when it is back it removes what nobody wants any more.
    let on_third = |pods: Vec<(String, String, String)>| pods.iter().filter(|(_, node, _)| *node == third).count();
    assert!(on_third(pods(&cluster, "roaming").unwrap()) > 0);
    cluster.cable(&third, "down");
    ready(&cluster, &third, "Unknown");
    eventually("it is tainted", || {
        let taints = cluster.get(&["node", &third])?["spec"]["taints"].to_string();
        if taints.contains("unreachable") && taints.contains("NoExecute") { Ok(()) } else { Err(taints) }
    });
    eventually("its pods are replaced", || {
        let deployment = cluster.get(&["deployment", "roaming"])?;
        let left = on_third(pods(&cluster, "roaming")?);
        let ready = deployment["status"]["readyReplicas"] == 6 && left == 0;
        if ready { Ok(()) } else { Err(format!("{left} left; {}", deployment["status"])) }
    });
    cluster.cable(&third, "up");
    ready(&cluster, &third, "True");
    let sandboxes = cluster.directory().join("nodes").join(&third).join("pods");
    eventually("it has removed the pods that were replaced", || {
        let left = std::fs::read_dir(&sandboxes).map_err(|e| e.to_string())?.count();
        if left == 1 { Ok(()) } else { Err(format!("{left} sandboxes in {}", sandboxes.display())) }
    });
    everybody_reaches_everybody(&cluster);
}

#[test]
fn a_machine_survives_its_process_and_its_node_object() {
    let cluster = start();
    let second = cluster.machine(1);
    cluster.apply(MANIFEST);
    rollout(&cluster);
    let record = cluster.directory().join("nodes").join(&second).join("run/server.json");
    let process = || {
        let text = std::fs::read_to_string(&record).map_err(|e| e.to_string())?;
        let record: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        Ok::<_, String>(record["pid"].to_string())
    };
    let before = process().unwrap();
    assert!(std::process::Command::new("kill").args(["-9", &before]).status().unwrap().success());
    eventually("its process is there again", || match process()? {
        pid if pid != before => Ok(()),
        pid => Err(pid),
    });
    ready(&cluster, &second, "True");
    let list = cluster.get(&["pods", "-l", "app=web"]).unwrap();
    for pod in list["items"].as_array().unwrap() {
        assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0, "{pod}");
    }
    // The server is killed, too: its successor takes the machines up as they are.
    let process_now = process().unwrap();
    cluster.kill_server();
    cluster.up(&[]);
    assert_eq!(process().unwrap(), process_now);

    cluster.kubectl(&["delete", "node", &second]).must();
    ready(&cluster, &second, "True");
    rollout(&cluster);
    everybody_reaches_everybody(&cluster);

    let links = cluster.command("ip").args(["-o", "link"]).output().unwrap();
    assert!(String::from_utf8_lossy(&links.stdout).contains(&second));
    cluster.oxikube(&["down"]).must();
    cluster.left_nothing();
}
