//! Pods from their binding to their end.

use serde_json::{Value, json};

use crate::support::{Node, condition, until};

fn web() -> Value {
    json!({"containers": [{"name": "c", "image": "web", "imagePullPolicy": "IfNotPresent"}]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_registers_and_hands_its_addresses_to_the_engine() {
    let node = Node::start().await;
    let found = || node.api.get("nodes", "", "n1").unwrap_or_default();
    until("a ready node", || {
        let conditions = found()["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    })
    .await;
    assert_eq!(found()["metadata"]["labels"]["kubernetes.io/hostname"], "n1");
    assert_eq!(found()["status"]["capacity"]["pods"], "110");
    assert_eq!(found()["status"]["nodeInfo"]["containerRuntimeVersion"], "fake://1");
    until("a lease", || node.api.get("leases", "kube-node-lease", "n1").is_some()).await;
    let mut object = found();
    object["spec"]["podCIDR"] = json!("10.244.0.0/24");
    node.api.put("nodes", "", object);
    until("the engine's range", || node.engine.pod_cidr().as_deref() == Some("10.244.0.0/24")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_comes_up_restarts_and_goes() {
    let node = Node::start().await;
    node.create("p", web());
    let pod = node.ready("p").await;
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(pod["status"]["podIP"], "127.0.0.1");
    assert_eq!(pod["status"]["qosClass"], "BestEffort");
    let first = node.engine.container("c").unwrap();
    assert_eq!(pod["status"]["containerStatuses"][0]["containerID"], format!("fake://{}", first.status.id));

    node.engine.exit("c", 3);
    let pod = node
        .wait("p", "restarted", |pod| {
            let status = &pod["status"]["containerStatuses"][0];
            status["restartCount"] == 1 && status["ready"] == true
        })
        .await;
    assert_eq!(pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 3);
    node.engine.exit("c", 3);
    node.wait("p", "in back-off", |pod| {
        pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    })
    .await;

    let event = "BackOff: Back-off restarting failed container c in pod p_ns(uid-p)";
    until(event, || node.api.events().iter().any(|told| told == event)).await;

    node.api.delete("p", 30);
    node.gone("p").await;
    until("an empty engine", || node.engine.count() == (0, 0)).await;
    until("no folder", || node.file("p", "").is_none()).await;
    until("an event", || node.api.events().iter().any(|event| event.starts_with("Started: "))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_outlive_the_kubelet_and_are_known_again() {
    let mut node = Node::start().await;
    node.create("p", web());
    node.ready("p").await;
    node.create("orphan", web());
    node.ready("orphan").await;
    let before = node.engine.container("c").unwrap().status.id;
    node.restart().await;
    node.create("q", json!({"containers": [{"name": "d", "image": "web", "imagePullPolicy": "Never"}]}));
    node.ready("q").await;
    assert_eq!(node.engine.container("c").unwrap().status.id, before);
    let pod = node.pod("p").unwrap();
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
    assert_eq!(condition(&pod, "Ready"), "True");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn environment_and_volumes_come_from_the_api_and_follow_it() {
    let node = Node::start().await;
    node.api.put(
        "services",
        "ns",
        json!({"metadata": {"name": "db"}, "spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 5432}]}}),
    );
    node.create(
        "p",
        json!({
            "serviceAccountName": "robot",
            "containers": [{
                "name": "c", "image": "web", "args": ["--colour=$(COLOUR)"],
                "env": [
                    {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
                    {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                ],
                "volumeMounts": [{"name": "all", "mountPath": "/all"}, {"name": "tmp", "mountPath": "/tmp"}],
            }],
            "volumes": [
                {"name": "tmp", "emptyDir": {}},
                {"name": "all", "projected": {"sources": [
                    {"serviceAccountToken": {"path": "token"}},
                    {"configMap": {"name": "settings"}},
                    {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                ]}},
            ],
        }),
    );
    node.ready("p").await;
    let made = node.engine.container("c").unwrap();
    assert_eq!(made.config.args, ["--colour=blue"]);
    let value = |name: &str| made.config.envs.iter().find(|pair| pair.key == name).map(|pair| pair.value.clone());
    assert_eq!(value("IP").as_deref(), Some("127.0.0.1"));
    assert_eq!(value("DB_SERVICE_HOST").as_deref(), Some("10.96.0.7"));
    let file = |name: &str| node.file("p", &format!("kubernetes.io~projected/all/{name}"));
    assert_eq!(file("token").as_deref(), Some("token for robot"));
    assert_eq!(file("labels").as_deref(), Some("app=\"p\""));
    assert_eq!(file("colour").as_deref(), Some("blue"));
    let paths: Vec<&str> = made.config.mounts.iter().map(|mount| mount.container_path.as_str()).collect();
    assert_eq!(paths, ["/all", "/tmp", "/etc/hosts", "/dev/termination-log"]);

    node.api.put("configmaps", "ns", json!({"metadata": {"name": "settings"}, "data": {"colour": "red"}}));
    until("the new colour", || file("colour").as_deref() == Some("red")).await;
    let mut pod = node.pod("p").unwrap();
    pod["metadata"]["labels"]["app"] = json!("other");
    node.api.put("pods", "ns", pod);
    until("the new label", || file("labels").as_deref() == Some("app=\"other\"")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_start_says_why() {
    let node = Node::start().await;
    let waiting = |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].clone();
    node.create("image", json!({"containers": [{"name": "c", "image": "bad:1"}]}));
    node.wait("image", "told of its image", |pod| waiting(pod) == "ErrImagePull").await;
    node.wait("image", "in back-off", |pod| waiting(pod) == "ImagePullBackOff").await;
    node.create("never", json!({"containers": [{"name": "c", "image": "absent:1", "imagePullPolicy": "Never"}]}));
    node.wait("never", "told of its image", |pod| waiting(pod) == "ErrImageNeverPull").await;
    node.create(
        "env",
        json!({"containers": [{"name": "c", "image": "web", "envFrom": [{"secretRef": {"name": "no"}}]}]}),
    );
    let pod = node.wait("env", "told of its secret", |pod| waiting(pod) == "CreateContainerConfigError").await;
    assert_eq!(pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"], "secret \"no\" not found");
    // What is missing may come.
    node.api.put("secrets", "ns", json!({"metadata": {"name": "no"}, "data": {"A": "eA=="}}));
    node.ready("env").await;
    node.create("pull", json!({"containers": [{"name": "d", "image": "other:1"}]}));
    node.ready("pull").await;
    assert!(node.engine.pulled().contains(&"other:1".to_owned()));
    for name in ["image", "never", "env", "pull"] {
        node.api.delete(name, 1);
    }
    for name in ["image", "never", "env", "pull"] {
        node.gone(name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_runs_its_init_container_and_completes() {
    let node = Node::start().await;
    let container = |name: &str| json!([{"name": name, "image": "web", "imagePullPolicy": "IfNotPresent"}]);
    node.create("p", json!({"restartPolicy": "Never", "initContainers": container("i"), "containers": container("c")}));
    until("the init container", || node.engine.container("i").is_some_and(|made| made.status.state == 1)).await;
    assert!(node.engine.container("c").is_none());
    node.engine.exit("i", 0);
    node.ready("p").await;
    let words = node.engine.container("c").unwrap();
    let words = words.config.mounts.iter().find(|mount| mount.container_path == "/dev/termination-log").unwrap();
    std::fs::write(&words.host_path, "all done").unwrap();
    node.engine.exit("c", 0);
    let pod = node.wait("p", "completed", |pod| pod["status"]["phase"] == "Succeeded").await;
    let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&ended["reason"], &ended["message"]), (&json!("Completed"), &json!("all done")));
    assert_eq!(pod["status"]["podIP"], "127.0.0.1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_make_ready_and_restart() {
    let node = Node::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut spec = web();
    spec["containers"][0]["readinessProbe"] = json!({"tcpSocket": {"port": port}, "periodSeconds": 1});
    node.create("p", spec);
    node.ready("p").await;
    drop(listener);
    node.wait("p", "unready", |pod| condition(pod, "Ready") == "False").await;

    let mut spec = web();
    spec["containers"][0]["name"] = json!("d");
    spec["containers"][0]["livenessProbe"] =
        json!({"exec": {"command": ["false", "1"]}, "periodSeconds": 1, "failureThreshold": 1});
    node.create("q", spec);
    node.wait("q", "restarted", |pod| pod["status"]["containerStatuses"][0]["restartCount"] == 1).await;
    for event in
        ["Unhealthy: Liveness probe failed: out", "Killing: Container d failed liveness probe, will be restarted"]
    {
        until(event, || node.api.events().iter().any(|told| told == event)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_does_not_fit_is_turned_away() {
    let node = Node::start().await;
    let mut spec = web();
    spec["containers"][0]["resources"] = json!({"requests": {"cpu": "100000"}});
    node.create("p", spec);
    let pod = node.wait("p", "failed", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(pod["status"]["reason"], "OutOfcpu");
    assert_eq!(node.engine.count(), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn static_pods_come_from_files_and_are_mirrored() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: s, namespace: ns}\nspec:\n  containers:\n  - {name: c, image: 'web:1'}\n";
    std::fs::write(folder.path().join("s.yaml"), manifest).unwrap();
    let mut node = Node::with(|config| config.static_pod_path = Some(folder.path().to_owned())).await;
    let pod = node.ready("s-n1").await;
    assert_eq!(pod["metadata"]["annotations"]["kubernetes.io/config.source"], "file");
    let before = node.engine.container("c").unwrap().status.id;
    node.restart().await;
    node.create("later", json!({"containers": [{"name": "d", "image": "web:1"}]}));
    node.ready("later").await;
    assert!(node.engine.container("c").is_some());
    node.api.delete("later", 1);
    node.gone("later").await;
    // A mirror is only a picture: without it the pod runs on, and it comes back.
    node.api.remove_pod("s-n1");
    node.ready("s-n1").await;
    assert_eq!(node.engine.container("c").unwrap().status.id, before);
    std::fs::remove_file(folder.path().join("s.yaml")).unwrap();
    node.gone("s-n1").await;
    until("an empty engine", || node.engine.count() == (0, 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_short_of_memory_ends_pods_and_takes_no_more_of_the_thirsty() {
    let node = Node::with(|config| {
        config.eviction_hard = [("memory.available".to_owned(), "101%".to_owned())].into();
        config.eviction_period = std::time::Duration::from_millis(100);
    })
    .await;
    until("a node under pressure", || {
        let node = node.api.get("nodes", "", "n1").unwrap_or_default();
        let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == "MemoryPressure" && condition["status"] == "True")
    })
    .await;
    let failed = |pod: &Value| pod["status"]["phase"] == "Failed" && pod["status"]["reason"] == "Evicted";
    node.create("thirsty", web());
    let pod = node.wait("thirsty", "turned away", failed).await;
    assert_eq!(pod["status"]["message"], "The node had condition: [MemoryPressure]. ");
    let mut modest = web();
    modest["containers"][0]["resources"] = json!({"requests": {"cpu": "1m"}});
    let mut vital = modest.clone();
    vital["priority"] = json!(2_000_001_000);
    node.create("vital", vital);
    node.ready("vital").await;
    node.create("modest", modest);
    let pod = node.wait("modest", "evicted", failed).await;
    let message = pod["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("The node was low on resource: memory. Threshold quantity: "), "{message}");
    assert_eq!(condition(&pod, "DisruptionTarget"), "True");
    assert_eq!(condition(&node.pod("vital").unwrap(), "Ready"), "True");
}
