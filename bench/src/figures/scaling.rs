//! From the moment that pods have more to do to the moment that there are more of them.

use std::time::Instant;

use hyper::Method;
use serde_json::{Value, json};

use crate::cluster::until;
use crate::failure::Failure;
use crate::figures::Bench;
use crate::report::since;

pub(crate) const FIGURES: &[&str] = &["hpa_scaled_up_ms"];

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const AUTOSCALERS: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";

/// Idle until a file appears, busy from then on.
const SCRIPT: &str = "until [ -e /signal/go ]; do sleep 0.5; done; while :; do :; done";

pub(crate) async fn measure(bench: &Bench) -> Result<(), Failure> {
    let signal = bench.cluster.folder("signal")?;
    bench.api.send(Method::POST, DEPLOYMENTS, &deployment(&signal.display().to_string())).await?;
    bench.api.send(Method::POST, AUTOSCALERS, &autoscaler()).await?;
    until("the autoscaler has figures", async || {
        let status = bench.api.get(&format!("{AUTOSCALERS}/load")).await?;
        let seen = status.pointer("/status/currentMetrics/0/resource/current/averageUtilization");
        seen.cloned().ok_or_else(|| Failure::Other(format!("{:?}", status.pointer("/status"))))
    })
    .await?;
    let mut watch = bench.api.watch(&format!("{DEPLOYMENTS}?fieldSelector=metadata.name=load")).await?;
    let start = Instant::now();
    std::fs::write(signal.join("go"), "")?;
    let more = |e: &Value| e.pointer("/object/spec/replicas").and_then(Value::as_u64) > Some(1);
    watch.until("there are more replicas", more).await?;
    bench.report.less("hpa_scaled_up_ms", since(start), "ms", None);
    for path in [AUTOSCALERS, DEPLOYMENTS] {
        bench.api.send(Method::DELETE, &format!("{path}/load"), &Value::Null).await?;
    }
    Ok(())
}

fn deployment(signal: &str) -> Value {
    let container = json!({
        "name": "load", "image": "nginx", "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", SCRIPT],
        "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}},
        "volumeMounts": [{"name": "signal", "mountPath": "/signal"}],
    });
    let spec = json!({
        "terminationGracePeriodSeconds": 0, "containers": [container],
        "volumes": [{"name": "signal", "hostPath": {"path": signal}}],
    });
    let labels = json!({"app": "load"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "load"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    })
}

fn autoscaler() -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": 50});
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "load"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "load"},
            "minReplicas": 1, "maxReplicas": 3,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    })
}
