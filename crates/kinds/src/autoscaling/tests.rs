use serde_json::{Value, json};

use super::*;
use crate::tests::{merge, text};

fn scaler(fragment: Value) -> Value {
    let mut scaler =
        json!({"spec": {"minReplicas": 1, "maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}});
    merge(&mut scaler, &json!({"spec": fragment}));
    scaler
}

fn said(fragment: Value) -> String {
    text(&validate(&scaler(fragment)))
}

#[test]
fn behaviour_that_is_half_said_is_filled() {
    let mut found =
        scaler(json!({"behavior": {"scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 5}]}}}));
    default(&mut found);
    assert_eq!(
        found["spec"]["behavior"],
        json!({
            "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [
                {"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]},
            "scaleDown": {"selectPolicy": "Max", "policies": [{"type": "Pods", "value": 1, "periodSeconds": 5}]},
        })
    );
    assert_eq!(text(&validate(&found)), "");
    let mut plain = scaler(json!({}));
    default(&mut plain);
    assert_eq!(plain, scaler(json!({})));
}

#[test]
fn autoscalers_that_are_refused() {
    for (fragment, expected) in [
        (json!({}), ""),
        (
            json!({"maxReplicas": 0}),
            "spec.maxReplicas: Invalid value: 0: must be greater than 0 | spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
        ),
        (
            json!({"scaleTargetRef": {"kind": "a/b", "name": null}}),
            "spec.scaleTargetRef.kind: Invalid value: \"a/b\": may not contain '/' | spec.scaleTargetRef.name: Required value",
        ),
        (
            json!({"behavior": {"scaleUp": {"stabilizationWindowSeconds": 3601, "selectPolicy": "x", "policies": []}}}),
            "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600 | spec.behavior.scaleUp.selectPolicy: Unsupported value: \"x\": supported values: \"Disabled\", \"Max\", \"Min\" | spec.behavior.scaleUp.policies: Required value: must specify at least one Policy",
        ),
        (
            json!({"behavior": {"scaleDown": {"tolerance": "-1", "policies": [{"type": "x", "value": 0, "periodSeconds": 1801}]}}}),
            "spec.behavior.scaleDown.policies[0].type: Unsupported value: \"x\": supported values: \"Percent\", \"Pods\" | spec.behavior.scaleDown.policies[0].value: Invalid value: 0: must be greater than zero | spec.behavior.scaleDown.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800 | spec.behavior.scaleDown.tolerance: Invalid value: \"-1\": must be greater than or equal to 0",
        ),
        (
            json!({"minReplicas": 0}),
            "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas",
        ),
    ] {
        assert_eq!(said(fragment.clone()), expected, "{fragment}");
    }
    let zero = scaler(json!({"minReplicas": 0}));
    let why = "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1";
    assert_eq!(text(&(AUTOSCALER.validate_new)(&zero)), why);
    assert_eq!(text(&(AUTOSCALER.validate_update)(&zero, &scaler(json!({})))), why);
    assert_eq!(text(&(AUTOSCALER.validate_update)(&zero, &zero)), "");
}

#[test]
fn metrics_that_are_refused() {
    let target = |target: Value| json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
    let at = "spec.metrics[0]";
    for (metric, expected) in [
        (target(json!({"type": "Utilization", "averageUtilization": 80})), String::new()),
        (
            target(json!({"type": "x", "averageUtilization": 0, "averageValue": "0"})),
            format!(
                "{at}.resource.target.type: Invalid value: \"x\": must be either Utilization, Value, or AverageValue | {at}.resource.target.averageValue: Invalid value: \"0\": must be positive | {at}.resource.target.averageUtilization: Invalid value: 0: must be greater than 0 | {at}.resource.target.averageValue: Forbidden: may not set both a target raw value and a target utilization"
            ),
        ),
        (
            target(json!({"type": "Value"})),
            format!(
                "{at}.resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization"
            ),
        ),
        (
            json!({"type": "Pods", "object": {"describedObject": {"kind": "K", "name": "n"}, "metric": {"name": "m"}, "target": {"type": "Value", "value": "1"}}}),
            format!("{at}.pods: Required value: must populate information for the given metric source"),
        ),
        (
            json!({"type": "Pods", "pods": {"metric": {}, "target": {"type": "Value"}}, "external": {"metric": {"name": "m"}, "target": {"type": "Value", "value": "1"}}}),
            format!("{at}.external: Forbidden: must populate the given metric source only"),
        ),
        (
            json!({"type": "Pods", "pods": {"metric": {}, "target": {"type": "Value"}}}),
            format!(
                "{at}.pods.metric.name: Required value: must specify a metric name | {at}.pods.target.averageValue: Required value: must specify a positive target averageValue"
            ),
        ),
        (
            json!({"type": "ContainerResource", "containerResource": {"name": "gpus", "target": {"type": "Value", "averageValue": "1"}}}),
            format!(
                "{at}.containerResource.name: Invalid value: \"gpus\": must be a standard resource type or fully qualified | {at}.containerResource.name: Invalid value: \"gpus\": must be a standard resource for containers | {at}.containerResource.container: Required value: must specify a container"
            ),
        ),
    ] {
        assert_eq!(said(json!({"metrics": [metric]})), expected, "{metric}");
    }
    assert!(said(json!({"metrics": [{}]})).starts_with("spec.metrics[0].type: Required value: must specify a metric source type | spec.metrics[0].type: Unsupported value: \"\""));
}
