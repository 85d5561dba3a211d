//! What upstream's conformance suite asks and no other scenario shows, in its order.

use serde_json::{Value, json};
use tests::{Cluster, eventually};

/// A pod that runs a script of the nginx image, with more in its spec and its container.
fn pod(name: &str, script: &str, spec: &Value, container: &Value) -> String {
    let mut only =
        json!({"name": "c", "image": "nginx", "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script]});
    only.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    let mut all = json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [only]});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": all})
        .to_string()
}

fn until(cluster: &Cluster, name: &str, phase: &str) -> Value {
    eventually(&format!("{name} is {phase}"), || {
        let status = cluster.get(&["pod", name])?["status"].clone();
        if status["phase"] == phase { Ok(status) } else { Err(status.to_string()) }
    })
}

/// curl with the administrator's certificate; what it printed, headers first.
fn curl(cluster: &Cluster, path: &str, arguments: &str) -> String {
    let script = format!(
        r#"umask 077; cd "$HOME"
        for part in users[0].user.client-certificate-data:c.crt users[0].user.client-key-data:c.key clusters[0].cluster.certificate-authority-data:ca.crt
        do kubectl config view --raw -o "jsonpath={{.${{part%%:*}}}}" | base64 -d > "${{part##*:}}"; done
        server=$(kubectl config view -o 'jsonpath={{.clusters[0].cluster.server}}')
        curl -sSi -N --max-time 3 --http1.1 --cert c.crt --key c.key --cacert ca.crt {arguments} "$server{path}""#
    );
    let output = cluster.command("sh").args(["-c", &script]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn pods_that_a_node_does_not_take_fail() {
    let cluster = Cluster::start();
    let ports = json!({"ports": [{"containerPort": 80, "hostPort": 8080}]});
    let here = json!({"nodeName": "node-1"});
    cluster.apply(&pod("first", "sleep 100", &here, &ports));
    until(&cluster, "first", "Running");
    cluster.apply(&pod("second", "sleep 100", &here, &ports));
    assert_eq!(until(&cluster, "second", "Failed")["reason"], "NodePorts");
    let sysctl = |name: &str| json!({"securityContext": {"sysctls": [{"name": name, "value": "1"}]}});
    cluster.apply(&pod("unsafe", "true", &sysctl("kernel.msgmax"), &json!({})));
    assert_eq!(until(&cluster, "unsafe", "Failed")["reason"], "SysctlForbidden");
    cluster.apply(&pod("safe", "cat /proc/sys/kernel/shm_rmid_forced", &sysctl("kernel.shm_rmid_forced"), &json!({})));
    until(&cluster, "safe", "Succeeded");
    assert_eq!(cluster.kubectl(&["logs", "safe"]).must().trim(), "1");
    let missing = pod("classy", "true", &json!({"runtimeClassName": "nonexistent"}), &json!({}));
    let refused = cluster.kubectl_with(&["create", "-f", "-"], Some(&missing)).must_fail();
    assert!(refused.contains("pod rejected: RuntimeClass \"nonexistent\" not found"), "{refused}");
}

#[test]
fn containers_see_what_they_were_promised() {
    let cluster = Cluster::start();
    let volumes = json!({"volumes": [{"name": "v", "image": {"reference": "nginx", "pullPolicy": "IfNotPresent"}}]});
    let mounts = json!({"volumeMounts": [{"name": "v", "mountPath": "/image"}]});
    cluster.apply(&pod(
        "image",
        "test -x /image/usr/sbin/nginx && ! touch /image/x 2>/dev/null && echo yes",
        &volumes,
        &mounts,
    ));
    until(&cluster, "image", "Succeeded");
    assert_eq!(cluster.kubectl(&["logs", "image"]).must().trim_end().lines().last(), Some("yes"));
    // A last line without an end has none in the message either.
    let words = json!({"terminationMessagePolicy": "FallbackToLogsOnError"});
    cluster.apply(&pod("words", "printf DONE; exit 1", &json!({}), &words));
    let status = until(&cluster, "words", "Failed");
    assert_eq!(status["containerStatuses"][0]["state"]["terminated"]["message"], "DONE");
    cluster.apply(&pod("late", "trap 'exit 0' TERM; sleep 100 & wait", &json!({}), &json!({})));
    until(&cluster, "late", "Running");
    cluster.kubectl(&["patch", "pod", "late", "-p", r#"{"spec":{"activeDeadlineSeconds":1}}"#]).must();
    assert_eq!(until(&cluster, "late", "Failed")["reason"], "DeadlineExceeded");
}

#[test]
fn doors_of_the_api_to_pods_and_services() {
    let cluster = Cluster::start();
    let port = json!({"ports": [{"containerPort": 80}]});
    cluster.apply(&pod("web", "echo container is alive; exec nginx -g 'daemon off;'", &json!({}), &port));
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"]).must();
    let socket = "-H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
                  -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' -H 'Sec-WebSocket-Protocol: binary.k8s.io' --output -";
    let told = curl(&cluster, "/api/v1/namespaces/default/pods/web/log", socket);
    assert!(told.starts_with("HTTP/1.1 101") && told.contains("container is alive\n"), "{told:?}");
    let proxy = "/api/v1/namespaces/default/pods/web/proxy";
    let moved = curl(&cluster, proxy, "");
    assert!(moved.starts_with("HTTP/1.1 301") && moved.contains(&format!("{proxy}/\r\n")), "{moved}");
    assert!(curl(&cluster, &format!("{proxy}/"), "").starts_with("HTTP/1.1 200"));

    let ports = json!([{"name": "a", "port": 53, "protocol": "TCP"}, {"name": "b", "port": 53, "protocol": "UDP"}]);
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": ports}});
    cluster.apply(&service.to_string());
    let made = cluster.get(&["service", "s"]).unwrap();
    assert_eq!(made["spec"]["ports"][0]["nodePort"], made["spec"]["ports"][1]["nodePort"]);
    let name = r#"{"spec":{"type":"ExternalName","externalName":"example.com","clusterIP":""}}"#;
    cluster.kubectl(&["patch", "service", "s", "--type=merge", "-p", name]).must();
    assert_eq!(cluster.get(&["service", "s"]).unwrap()["spec"]["clusterIPs"], Value::Null);

    let keys = curl(&cluster, "/openid/v1/jwks", "");
    assert!(keys.to_lowercase().contains("content-type: application/jwk-set+json"), "{keys}");
    let review = "-X POST -H 'Accept: application/json;as=Table;v=v1;g=meta.k8s.io' -H 'Content-Type: application/json' \
                  -d '{\"spec\":{\"nonResourceAttributes\":{\"path\":\"/\",\"verb\":\"get\"}}}'";
    let refused = curl(&cluster, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review);
    assert!(refused.starts_with("HTTP/1.1 406"), "{refused}");
}

#[test]
fn owners_in_a_circle_go_together() {
    let cluster = Cluster::start();
    let uid = |name: &str| cluster.get(&["configmap", name]).unwrap()["metadata"]["uid"].clone();
    for name in ["a", "b", "c"] {
        cluster.kubectl(&["create", "configmap", name]).must();
    }
    for (name, owner) in [("a", "c"), ("b", "a"), ("c", "b")] {
        let reference = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": uid(owner), "blockOwnerDeletion": true}]);
        let patch = json!({"metadata": {"ownerReferences": reference}}).to_string();
        cluster.kubectl(&["patch", "configmap", name, "--type=merge", "-p", &patch]).must();
    }
    cluster.kubectl(&["delete", "configmap", "a", "--cascade=foreground", "--timeout=60s"]).must();
    eventually("all three are gone", || {
        let left = cluster.kubectl(&["get", "configmaps", "a", "b", "c", "--ignore-not-found", "-o", "name"]).must();
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

#[test]
fn resources_that_others_give_a_node_are_scheduled() {
    let cluster = Cluster::start();
    let give = |amount: &str| {
        let patch = format!(r#"{{"status":{{"capacity":{{"example.com/dongle":{amount}}}}}}}"#);
        cluster.kubectl(&["patch", "node", "node-1", "--subresource=status", "-p", &patch]).must();
    };
    let allocatable =
        || cluster.get(&["node", "node-1"]).unwrap()["status"]["allocatable"]["example.com/dongle"].clone();
    let told = |wanted: Value| {
        eventually("the node tells it", || {
            let now = allocatable();
            if now == wanted { Ok(()) } else { Err(now.to_string()) }
        });
    };
    give("\"2\"");
    told("2".into());
    let asks = |amount: &str| json!({"resources": {"limits": {"example.com/dongle": amount}}});
    cluster.apply(&pod("fits", "sleep 100", &json!({}), &asks("2")));
    until(&cluster, "fits", "Running");
    cluster.apply(&pod("waits", "sleep 100", &json!({}), &asks("1")));
    eventually("there is none left", || {
        let pod = cluster.get(&["pod", "waits"])?;
        let message = pod["status"]["conditions"][0]["message"].as_str().unwrap_or_default().to_owned();
        if message.contains("Insufficient example.com/dongle") { Ok(()) } else { Err(message) }
    });
    give("null");
    told(Value::Null);
}
