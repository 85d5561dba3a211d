//! HorizontalPodAutoscaler v1 and v2. What v1 has no field for lies in its annotations, in upstream's names and shapes.

use serde_json::{Map, Value, json};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

type Tree = Map<String, Value>;

pub(super) fn to_v1(scaler: &mut Tree) {
    let mut notes = Vec::new();
    if let Some(spec) = scaler.get_mut("spec").and_then(Value::as_object_mut) {
        let mut metrics = list(spec.remove("metrics"));
        if let Some(percent) = take_cpu(&mut metrics, "target") {
            spec.insert("targetCPUUtilizationPercentage".into(), percent);
        }
        note(&mut notes, METRICS, metrics.into_iter().map(|m| old_shape(m, "target")).collect());
        if let Some(behavior) = spec.remove("behavior").filter(|b| !b.is_null()) {
            notes.push((BEHAVIOR, behavior.to_string()));
        }
    }
    if let Some(status) = scaler.get_mut("status").and_then(Value::as_object_mut) {
        let mut current = list(status.remove("currentMetrics"));
        if let Some(percent) = take_cpu(&mut current, "current") {
            status.insert("currentCPUUtilizationPercentage".into(), percent);
        }
        note(&mut notes, CURRENT, current.into_iter().map(|m| old_shape(m, "current")).collect());
        note(&mut notes, CONDITIONS, list(status.remove("conditions")));
        status.entry("currentReplicas").or_insert_with(|| 0.into());
    }
    if notes.is_empty() {
        return;
    }
    let metadata = api::meta::child_mut(scaler, "metadata");
    let annotations = api::meta::child_mut(metadata, "annotations");
    for (key, text) in notes {
        annotations.insert(key.to_owned(), text.into());
    }
}

pub(super) fn to_v2(scaler: &mut Tree) {
    let mut read = |key: &str| {
        let annotations = scaler.get_mut("metadata")?.get_mut("annotations")?.as_object_mut()?;
        let value = serde_json::from_str::<Value>(annotations.get(key)?.as_str()?).ok()?;
        annotations.remove(key);
        Some(value)
    };
    let (metrics, current) = (list(read(METRICS)), list(read(CURRENT)));
    let (conditions, behavior) = (read(CONDITIONS), read(BEHAVIOR));
    if let Some(metadata) = scaler.get_mut("metadata").and_then(Value::as_object_mut)
        && metadata.get("annotations").is_some_and(|a| a == &json!({}))
    {
        metadata.remove("annotations");
    }
    if let Some(spec) = scaler.get_mut("spec").and_then(Value::as_object_mut) {
        let percent = spec.remove("targetCPUUtilizationPercentage");
        let all = with_cpu(percent, "target", metrics);
        if !all.is_empty() {
            spec.insert("metrics".into(), all.into());
        }
        if let Some(behavior) = behavior {
            spec.insert("behavior".into(), behavior);
        }
    }
    if let Some(status) = scaler.get_mut("status").and_then(Value::as_object_mut) {
        let percent = status.remove("currentCPUUtilizationPercentage");
        let all = with_cpu(percent, "current", current);
        status.insert("currentMetrics".into(), if all.is_empty() { Value::Null } else { all.into() });
        if let Some(conditions) = conditions {
            status.insert("conditions".into(), conditions);
        }
    }
}

fn list(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

fn note(notes: &mut Vec<(&'static str, String)>, key: &'static str, list: Vec<Value>) {
    if !list.is_empty() {
        notes.push((key, Value::Array(list).to_string()));
    }
}

/// The first metric, if all that it says is the share of CPU: v1 has a field for that.
fn take_cpu(metrics: &mut Vec<Value>, side: &str) -> Option<Value> {
    let plain = |m: &Value| {
        let said = m.pointer(&format!("/resource/{side}")).and_then(Value::as_object)?;
        let others = said.keys().any(|k| !matches!(k.as_str(), "type" | "averageUtilization"));
        let cpu = m.pointer("/resource/name").is_some_and(|n| n == "cpu");
        said.get("averageUtilization").filter(|_| cpu && !others).cloned()
    };
    let percent = plain(metrics.first()?)?;
    metrics.remove(0);
    Some(percent)
}

fn with_cpu(percent: Option<Value>, side: &str, old: Vec<Value>) -> Vec<Value> {
    let cpu = percent.filter(|p| !p.is_null()).map(|percent| {
        let said = if side == "target" {
            json!({"type": "Utilization", "averageUtilization": percent})
        } else {
            json!({"averageUtilization": percent})
        };
        json!({"type": "Resource", "resource": {"name": "cpu", side: said}})
    });
    cpu.into_iter().chain(old.into_iter().map(|m| new_shape(m, side))).collect()
}

/// What the amounts of one type of metric are called: (v2's field, v1's field).
fn amounts(kind: &str, side: &str) -> &'static [(&'static str, &'static str)] {
    match (kind, side) {
        ("object", "target") => &[("value", "targetValue"), ("averageValue", "averageValue")],
        ("object", _) => &[("value", "currentValue"), ("averageValue", "averageValue")],
        (_, "target") => &[
            ("value", "targetValue"),
            ("averageValue", "targetAverageValue"),
            ("averageUtilization", "targetAverageUtilization"),
        ],
        _ => &[
            ("value", "currentValue"),
            ("averageValue", "currentAverageValue"),
            ("averageUtilization", "currentAverageUtilization"),
        ],
    }
}

fn selector(kind: &str) -> &'static str {
    if kind == "external" { "metricSelector" } else { "selector" }
}

/// A metric of v2 in v1's words.
fn old_shape(mut metric: Value, side: &str) -> Value {
    for (kind, source) in sources(&mut metric) {
        if let Some(Value::Object(mut said)) = source.remove(side) {
            for (new, old) in amounts(kind, side) {
                if let Some(amount) = said.remove(*new) {
                    source.insert((*old).to_owned(), amount);
                }
            }
        }
        if let Some(Value::Object(mut identity)) = source.remove("metric") {
            super::rename(&mut identity, &[("name", "metricName"), ("selector", selector(kind))]);
            source.extend(identity);
        }
        super::rename(source, &[("describedObject", "target")]);
    }
    metric
}

/// A metric of v1's annotation in v2's words.
fn new_shape(mut metric: Value, side: &str) -> Value {
    for (kind, source) in sources(&mut metric) {
        super::rename(source, &[("target", "describedObject")]);
        let mut said = Tree::new();
        for (new, old) in amounts(kind, side) {
            if let Some(amount) = source.remove(*old) {
                said.insert((*new).to_owned(), amount);
            }
        }
        if side == "target" {
            let order = [("averageUtilization", "Utilization"), ("averageValue", "AverageValue"), ("value", "Value")];
            let name = order.iter().find(|(field, _)| said.contains_key(*field)).map(|(_, name)| *name);
            said.insert("type".into(), name.unwrap_or_default().into());
        }
        let mut identity = Tree::new();
        for (old, new) in [("metricName", "name"), (selector(kind), "selector")] {
            if let Some(value) = source.remove(old) {
                identity.insert(new.to_owned(), value);
            }
        }
        if !identity.is_empty() {
            source.insert("metric".into(), identity.into());
        }
        source.insert(side.to_owned(), said.into());
    }
    metric
}

/// The one part of a metric that says its amounts.
fn sources(metric: &mut Value) -> impl Iterator<Item = (&'static str, &mut Tree)> {
    const KINDS: [&str; 5] = ["resource", "containerResource", "pods", "object", "external"];
    metric.as_object_mut().into_iter().flatten().filter_map(|(key, value)| {
        let kind = KINDS.iter().find(|k| *k == key)?;
        Some((*kind, value.as_object_mut()?))
    })
}
