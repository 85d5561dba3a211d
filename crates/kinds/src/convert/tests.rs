use api::GroupVersionKind;
use serde_json::{Value, json};

use super::convert;

fn gvk(group: &str, version: &str, kind: &str) -> GroupVersionKind {
    let resource = api::catalogue::by_resource(group, version, &format!("{}s", kind.to_lowercase())).unwrap();
    resource.gvk(version)
}

fn there_and_back(object: &Value, from: &GroupVersionKind, to: &GroupVersionKind) -> Value {
    let mut tree = object.clone();
    convert(&mut tree, from, to);
    let shown = tree.clone();
    convert(&mut tree, to, from);
    assert_eq!(&tree, object);
    shown
}

#[test]
fn events_keep_everything_under_other_names() {
    let core = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod"}, "message": "m", "source": {"component": "c"}, "count": 3,
        "firstTimestamp": "a", "lastTimestamp": "b", "reportingComponent": "r", "reportingInstance": "i",
        "series": {"count": 1}, "reason": "R", "type": "Normal", "action": "A", "eventTime": null,
    });
    let shown = there_and_back(&core, &gvk("", "v1", "Event"), &gvk("events.k8s.io", "v1", "Event"));
    assert_eq!(shown.get("regarding"), Some(&json!({"kind": "Pod"})));
    assert_eq!(shown.get("note"), Some(&json!("m")));
    assert_eq!(shown.get("apiVersion"), Some(&json!("events.k8s.io/v1")));
    assert_eq!(shown.get("involvedObject"), None);
}

#[test]
fn autoscalers_keep_in_annotations_what_v1_cannot_say() {
    let resource =
        |name: &str, target: Value| json!({"type": "Resource", "resource": {"name": name, "target": target}});
    let cpu = resource("cpu", json!({"type": "Utilization", "averageUtilization": 80}));
    let memory = resource("memory", json!({"type": "AverageValue", "averageValue": "1Gi"}));
    let object = json!({"type": "Object", "object": {
        "describedObject": {"kind": "Service", "name": "s"}, "metric": {"name": "hits", "selector": {"matchLabels": {"a": "b"}}},
        "target": {"type": "Value", "value": "10"},
    }});
    let external = json!({"type": "External", "external": {
        "metric": {"name": "q", "selector": {"matchLabels": {"a": "b"}}}, "target": {"type": "AverageValue", "averageValue": "5"},
    }});
    let v2 = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "metrics": [cpu, memory, object, external], "behavior": {"scaleDown": {"policies": null}}},
        "status": {"currentReplicas": 1, "desiredReplicas": 2, "conditions": [{"type": "AbleToScale"}], "currentMetrics": [
            {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 10, "averageValue": "1m"}}},
        ]},
    });
    let (v2_kind, v1_kind) =
        (gvk("autoscaling", "v2", "HorizontalPodAutoscaler"), gvk("autoscaling", "v1", "HorizontalPodAutoscaler"));
    let shown = there_and_back(&v2, &v2_kind, &v1_kind);
    assert_eq!(shown.pointer("/spec/targetCPUUtilizationPercentage"), Some(&json!(80)));
    assert_eq!(shown.pointer("/spec/metrics"), None);
    let noted = api::meta::annotation(&shown, "autoscaling.alpha.kubernetes.io/metrics").unwrap();
    assert!(noted.contains(r#""metricName":"hits""#) && noted.contains(r#""targetAverageValue":"1Gi""#), "{noted}");
}
