//! The objects that are made for measuring, and what is read from those that come back.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// A text somewhere in an object; empty if it is not there.
pub(crate) fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Whether the object of a watch event has a condition that is true.
pub(crate) fn condition(event: &Value, kind: &str) -> bool {
    let list = event.pointer("/object/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let mut matching = list.filter(|c| c.get("type").and_then(Value::as_str) == Some(kind));
    matching.any(|c| c.get("status").and_then(Value::as_str) == Some("True"))
}

/// Whether a watch event says that the object is gone.
pub(crate) fn deleted(event: &Value) -> bool {
    event.get("type").and_then(Value::as_str) == Some("DELETED")
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// Seconds since 1970 of a time such as `2026-01-31T12:00:00.000000Z`; 0 if it is none.
pub(crate) fn seconds(time: &str) -> f64 {
    let numbers: Vec<f64> =
        time.trim_end_matches('Z').split(['-', 'T', ':']).filter_map(|part| part.parse().ok()).collect();
    let [year, month, day, hour, minute, second] = numbers.as_slice() else { return 0.0 };
    // Days by the civil calendar, with the year starting in March so that the leap day comes last.
    let (y, m) = if *month > 2.0 { (*year, month - 3.0) } else { (year - 1.0, month + 9.0) };
    let days = (365.25 * y).floor() - (y / 100.0).floor() + (y / 400.0).floor() + (30.6 * m + 0.5).floor() + day;
    (days - 719_469.0) * 86_400.0 + hour * 3600.0 + minute * 60.0 + second
}

/// A pod of one nginx.
pub(crate) fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [container(None)]}})
}

/// A pod that only waits; `mark` makes its process recognizable.
pub(crate) fn sleeper(name: &str, mark: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "sleep", "image": "nginx", "imagePullPolicy": "IfNotPresent",
            "command": ["sleep", mark]}]}})
}

/// A Deployment of nginx; with `page`, one that serves this text.
pub(crate) fn deployment(name: &str, replicas: u32, page: Option<&str>) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template(name, page)}})
}

/// A pod template.
pub(crate) fn template(app: &str, page: Option<&str>) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [container(page)]}})
}

/// A Service in front of an app.
pub(crate) fn service(app: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": app}, "spec": {
        "selector": {"app": app}, "ports": [{"port": 80}]}})
}

/// A ConfigMap of 1 KiB.
pub(crate) fn config_map(name: &str, fill: char) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"payload": fill.to_string().repeat(1024)}})
}

/// A pod of 3.3 kB that no scheduler takes.
pub(crate) fn filler(name: &str) -> Value {
    let variables: Vec<Value> =
        (0..20).map(|i| json!({"name": format!("VARIABLE_{i}"), "value": "x".repeat(40)})).collect();
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "filler"}, "annotations": {"note": "y".repeat(300)}},
        "spec": {"schedulerName": "nobody", "containers": [{"name": "main", "image": "nginx", "env": variables}]}})
}

fn container(page: Option<&str>) -> Value {
    let mut container = json!({"name": "nginx", "image": "nginx", "imagePullPolicy": "IfNotPresent",
        "ports": [{"containerPort": 80}]});
    if let (Some(page), Some(fields)) = (page, container.as_object_mut()) {
        let script = format!("echo {page} > /usr/share/nginx/html/index.html; exec nginx -g 'daemon off;'");
        fields.insert("command".into(), json!(["sh", "-c", script]));
    }
    container
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(seconds("1970-01-01T00:00:00.000000Z"), 0.0);
        assert_eq!(seconds("2024-02-29T12:30:15.500000Z"), 1_709_209_815.5);
        assert_eq!(seconds("nonsense"), 0.0);
    }
}
