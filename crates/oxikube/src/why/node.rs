//! Why a node takes no pods.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;

use super::Answer;

/// The answer.
pub(crate) fn why(node: &Node, now: Timestamp) -> Answer {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let find = |kind: &str| conditions.iter().find(|condition| condition.type_ == kind);
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let taints: Vec<String> = taints.map(|taint| format!("{}:{}", taint.key, taint.effect)).collect();
    let tainted = (!taints.is_empty()).then(|| format!("taints: {}", taints.join(", ")));
    let name = node.metadata.name.as_deref().unwrap_or_default();
    match find("Ready") {
        None => {
            return Answer::blocked("its kubelet has never reported", "see whether the kubelet runs on it")
                .with(tainted);
        }
        Some(ready) if ready.status == "Unknown" => {
            let heard = ready.last_heartbeat_time.as_ref().map(|time| now.duration_since(time.0).as_secs());
            let heard = heard.map_or_else(String::new, |seconds| format!(" for {seconds} s"));
            let cause = format!("its kubelet has not been heard of{heard}");
            let remedy = "see whether the machine is up, reaches the API server, and runs the kubelet";
            return Answer::blocked(cause, remedy).with(tainted);
        }
        Some(ready) if ready.status != "True" => {
            let why = ready.message.clone().unwrap_or_default();
            return Answer::blocked(format!("it is not ready: {why}"), "correct what the kubelet names").with(tainted);
        }
        Some(_) => {}
    }
    for (kind, what) in [("DiskPressure", "disk space"), ("MemoryPressure", "memory"), ("PIDPressure", "process ids")] {
        if let Some(condition) = find(kind).filter(|condition| condition.status == "True") {
            let said = condition.message.clone().unwrap_or_default();
            return Answer::blocked(
                format!("it runs short of {what}: {said}"),
                format!("free some {what} on it, or move pods away: kubectl drain {name}"),
            )
            .with(tainted);
        }
    }
    if node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true)) {
        return Answer::blocked("it is cordoned: no new pods come to it", format!("kubectl uncordon {name}"));
    }
    match tainted {
        Some(taints) => Answer::blocked(
            format!("it is ready, but only pods that tolerate its {taints} come to it"),
            format!("give pods a toleration, or remove the taint: kubectl taint node {name} KEY-"),
        ),
        None => Answer::healthy("it is ready and takes pods"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn causes() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let said = |spec: Value, conditions: Value| {
            let node = json!({"metadata": {"name": "n"}, "spec": spec, "status": {"conditions": conditions}});
            why(&serde_json::from_value(node).unwrap(), now).text()
        };
        let ready = |status: &str| {
            json!({"type": "Ready", "status": status, "message": "no network",
            "lastHeartbeatTime": "2026-01-01T00:00:00Z"})
        };
        assert!(said(json!({}), json!([])).contains("never reported"));
        assert!(said(json!({}), json!([ready("Unknown")])).contains("not been heard of for 60 s"));
        assert!(said(json!({}), json!([ready("False")])).contains("it is not ready: no network"));
        let full = json!([ready("True"), {"type": "DiskPressure", "status": "True"}]);
        assert!(said(json!({}), full).contains("kubectl drain n"));
        assert!(said(json!({"unschedulable": true}), json!([ready("True")])).contains("kubectl uncordon n"));
        let tainted = json!({"taints": [{"key": "k", "effect": "NoSchedule"}]});
        assert!(said(tainted, json!([ready("True")])).contains("taints: k:NoSchedule"));
        assert!(said(json!({}), json!([ready("True")])).contains("takes pods"));
    }
}
