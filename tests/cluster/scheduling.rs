//! Who goes where, and who has to make room.

use tests::{Cluster, eventually};

fn pod(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\n\
         spec:\n  terminationGracePeriodSeconds: 0\n{spec}\
         \x20 containers: [{{name: c, image: nginx, imagePullPolicy: IfNotPresent, command: [sleep, '100000']}}]\n"
    )
}

fn on_a_node(cluster: &Cluster, name: &str) {
    eventually(&format!("{name} has a node"), || {
        let pod = cluster.get(&["pod", name])?;
        if pod["spec"]["nodeName"].is_string() { Ok(()) } else { Err(pod["status"].to_string()) }
    });
}

fn waits(cluster: &Cluster, name: &str, because: &str) {
    eventually(&format!("{name} waits"), || {
        let pod = cluster.get(&["pod", name])?;
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let said = conditions.iter().filter_map(|c| c["message"].as_str()).any(|m| m.contains(because));
        if said { Ok(()) } else { Err(pod["status"].to_string()) }
    });
}

#[test]
fn the_important_make_room_and_the_others_wait_for_what_helps() {
    let cluster = Cluster::start();
    cluster.kubectl(&["create", "priorityclass", "high", "--value=1000"]).must();
    let apart = |app: &str| {
        format!(
            "  affinity: {{podAntiAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: \
             [{{topologyKey: kubernetes.io/hostname, labelSelector: {{matchLabels: {{app: {app}}}}}}}]}}}}\n"
        )
    };
    cluster.apply(&pod("lesser", ""));
    on_a_node(&cluster, "lesser");
    cluster.apply(&pod("shy", &apart("lesser")));
    waits(&cluster, "shy", "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules.");
    cluster.apply(&pod("boss", &format!("  priorityClassName: high\n{}", apart("lesser"))));
    on_a_node(&cluster, "boss");
    eventually("the lesser one had to go", || match cluster.get(&["pod", "lesser"]) {
        Err(error) if error.contains("not found") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    on_a_node(&cluster, "shy");
    let events = cluster.kubectl(&["get", "events", "--field-selector=reason=Preempted"]).must();
    assert!(events.contains("Preempted by pod"), "{events}");

    cluster.apply(&pod("picky", "  nodeSelector: {disk: fast}\n"));
    waits(&cluster, "picky", "1 node(s) didn't match Pod's node affinity/selector");
    cluster.kubectl(&["label", "node", "node-1", "disk=fast"]).must();
    on_a_node(&cluster, "picky");
    cluster.apply(&pod("gated", "  schedulingGates: [{name: example.com/gate}]\n"));
    waits(&cluster, "gated", "Scheduling is blocked due to non-empty scheduling gates");
    cluster.kubectl(&["patch", "pod", "gated", "-p", r#"{"spec": {"schedulingGates": null}}"#]).must();
    on_a_node(&cluster, "gated");
}
