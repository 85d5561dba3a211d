use serde_json::json;

use super::*;

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

fn cells(group: &str, kind: &str, object: &Value, wide: bool) -> Vec<String> {
    let printer = printer(&GroupVersionKind::new(group, "v1", kind));
    let row = printer.row(object, now());
    let shown = printer.columns.iter().zip(row).filter(|(c, _)| wide || c.priority == 0);
    shown.map(|(_, v)| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect()
}

fn pod(status: Value) -> Value {
    json!({
        "metadata": {"name": "p", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]},
        "status": status,
    })
}

#[test]
fn pods_in_one_word() {
    let running = json!({"name": "a", "ready": true, "restartCount": 0, "state": {"running": {}}});
    let crash = json!({
        "name": "b", "ready": false, "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"finishedAt": "2026-01-01T00:59:00Z"}},
    });
    let done = json!({"name": "i", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
    for (status, expected) in [
        (json!({"phase": "Pending"}), ["p", "0/2", "Pending", "0", "60m"]),
        (
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}),
            ["p", "0/2", "Init:0/1", "0", "60m"],
        ),
        (
            json!({"phase": "Running", "containerStatuses": [running, crash], "initContainerStatuses": [done]}),
            ["p", "1/2", "CrashLoopBackOff", "3 (60s ago)", "60m"],
        ),
        (json!({"phase": "Failed", "reason": "Evicted"}), ["p", "0/2", "Evicted", "0", "60m"]),
    ] {
        assert_eq!(cells("", "Pod", &pod(status), false), expected);
    }
    let mut going = pod(json!({"phase": "Running"}));
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:59:59Z".into();
    assert_eq!(cells("", "Pod", &going, false)[2], "Terminating");
}

#[test]
fn services_show_node_ports_and_pending_balancers() {
    let service = json!({
        "metadata": {"name": "s", "creationTimestamp": "2026-01-01T00:59:55Z"},
        "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1", "selector": {"a": "b"},
            "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]},
    });
    let expected = ["s", "LoadBalancer", "10.0.0.1", "<pending>", "80:30080/TCP,53/UDP", "5s", "a=b"];
    assert_eq!(cells("", "Service", &service, true), expected);
}

#[test]
fn nodes_show_roles_and_cordons() {
    let node = json!({
        "metadata": {"name": "n", "creationTimestamp": "2026-01-01T00:59:55Z",
            "labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1"}},
    });
    assert_eq!(cells("", "Node", &node, false), ["n", "Ready,SchedulingDisabled", "control-plane,worker", "5s", "v1"]);
}

#[test]
fn deployments_count() {
    let deployment = json!({
        "metadata": {"name": "d", "creationTimestamp": "2026-01-01T00:59:55Z"}, "spec": {"replicas": 3},
        "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2},
    });
    assert_eq!(cells("apps", "Deployment", &deployment, false), ["d", "2/3", "3", "2", "5s"]);
}

#[test]
fn every_table_starts_somewhere_and_fills_all_cells_of_an_empty_object() {
    for resource in api::catalogue::all() {
        let printer = printer(&resource.storage_gvk());
        assert!(printer.columns.iter().any(|c| c.format == "name"), "{}", resource.kind);
        assert_eq!(printer.row(&json!({}), now()).len(), printer.columns.len());
    }
}
