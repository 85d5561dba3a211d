//! Quotas, figures of nodes and pods, and autoscaling by them.

use tests::{Cluster, eventually};

fn deployment(replicas: u32, script: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\n\
         spec: {{replicas: {replicas}, selector: {{matchLabels: {{app: web}}}}, template: {{metadata: {{labels: {{app: web}}}},\
         spec: {{terminationGracePeriodSeconds: 0, containers: [{{name: c, image: nginx, imagePullPolicy: IfNotPresent,\
         command: [sh, -c, '{script}'], resources: {{requests: {{cpu: 20m, memory: 16Mi}}, limits: {{cpu: 80m}}}}}}]}}}}}}\n"
    )
}

#[test]
fn quotas_and_limit_ranges_are_kept() {
    let cluster = Cluster::prepared();
    cluster.up(&[]);
    cluster
        .kubectl(&["create", "quota", "small", "--hard=count/configmaps=2,services.nodeports=1,pods=1,requests.cpu=1"])
        .must();
    eventually("the quota is counted", || {
        let status = cluster.get(&["quota", "small"])?["status"].clone();
        // kube-root-ca.crt is there.
        if status["used"]["count/configmaps"] == "1" { Ok(()) } else { Err(status.to_string()) }
    });
    cluster.kubectl(&["create", "configmap", "one"]).must();
    let refused = cluster.kubectl(&["create", "configmap", "two"]).must_fail();
    let expected =
        "exceeded quota: small, requested: count/configmaps=1, used: count/configmaps=2, limited: count/configmaps=2";
    assert!(refused.contains(expected), "{refused}");
    cluster.kubectl(&["delete", "configmap", "one"]).must();
    eventually("what has gone is free again", || {
        let made = cluster.kubectl(&["create", "configmap", "two"]);
        if made.ok { Ok(()) } else { Err(made.stderr) }
    });
    let pod = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{nodeSelector: {{none: here}}, containers: [{{name: c, image: 'i:1'}}]}}\n"
        )
    };
    let refused = cluster.kubectl_with(&["apply", "-f", "-"], Some(&pod("bare"))).must_fail();
    assert!(refused.contains("failed quota: small: must specify requests.cpu for: c"), "{refused}");
    cluster.apply(
        "apiVersion: v1\nkind: LimitRange\nmetadata: {name: usual}\n\
         spec: {limits: [{type: Container, defaultRequest: {cpu: 100m}, default: {cpu: 200m}, max: {cpu: 500m}}]}\n",
    );
    cluster.apply(&pod("filled"));
    let filled = cluster.get(&["pod", "filled"]).unwrap();
    assert_eq!(filled["spec"]["containers"][0]["resources"]["requests"]["cpu"], "100m");
    assert_eq!(cluster.get(&["quota", "small"]).unwrap()["status"]["used"]["requests.cpu"], "100m");
    let refused = cluster.kubectl_with(&["apply", "-f", "-"], Some(&pod("more"))).must_fail();
    assert!(refused.contains("exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1"), "{refused}");
}

#[test]
fn load_makes_more_and_quiet_makes_less() {
    let cluster = Cluster::start();
    cluster.apply(&deployment(1, "while [ -e /etc/passwd ]; do :; done; sleep infinity"));
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]).must();
    let figures = eventually("pods have figures", || {
        let said = cluster.kubectl(&["top", "pods", "--no-headers"]);
        if said.ok && said.stdout.contains("web-") { Ok(said.stdout) } else { Err(said.stderr) }
    });
    assert!(figures.contains('m') && figures.contains("Mi"), "{figures}");
    assert!(cluster.kubectl(&["top", "nodes"]).must().contains("node-1"));

    cluster.kubectl(&["autoscale", "deployment", "web", "--min=1", "--max=3", "--cpu=50%"]).must();
    let quick = r#"{"spec":{"behavior":{"scaleDown":{"stabilizationWindowSeconds":0}}}}"#;
    cluster.kubectl(&["patch", "hpa", "web", "-p", quick]).must();
    let replicas = |wanted: i64| {
        eventually("the number of replicas follows", || {
            let scaler = cluster.get(&["hpa", "web"])?;
            let now = cluster.get(&["deployment", "web"])?["spec"]["replicas"].as_i64();
            if now == Some(wanted) { Ok(()) } else { Err(format!("{now:?}: {}", scaler["status"])) }
        });
    };
    replicas(3);
    let events = cluster.kubectl(&["describe", "hpa", "web"]).must();
    assert!(
        events.contains("New size: 3; reason: cpu resource utilization (percentage of request) above target"),
        "{events}"
    );
    cluster.apply(&deployment(3, "sleep infinity"));
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=120s"]).must();
    replicas(1);
}
