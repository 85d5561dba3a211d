use std::collections::BTreeSet;

use api::{GroupVersion, GroupVersionKind};
use serde_json::{Value, json};

use super::{PathSpec, SubresourceSpec, v2, v2_protobuf, v3};

fn verbs(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn spec(group: &str, version: &str, kind: &str, plural: &str) -> PathSpec {
    PathSpec {
        gvk: GroupVersionKind::new(group, version, kind),
        plural: plural.to_owned(),
        namespaced: true,
        verbs: verbs("create delete deletecollection get list patch update watch"),
        subresources: Vec::new(),
        schema: None,
    }
}

fn apps() -> (GroupVersion, Vec<PathSpec>) {
    let mut deployment = spec("apps", "v1", "Deployment", "deployments");
    deployment.subresources.push(SubresourceSpec {
        name: "scale".to_owned(),
        gvk: GroupVersionKind::new("autoscaling", "v1", "Scale"),
        verbs: verbs("get patch update"),
    });
    (GroupVersion::new("apps", "v1"), vec![deployment])
}

/// Every `$ref` of a document.
fn references(value: &Value, out: &mut BTreeSet<String>) {
    match value {
        Value::Object(entries) => {
            // A property may itself be called `$ref`; then it is an object.
            out.extend(entries.get("$ref").and_then(Value::as_str).map(str::to_owned));
            entries.values().for_each(|value| references(value, out));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, out)),
        _ => {}
    }
}

fn assert_closed(document: &Value) {
    let mut all = BTreeSet::new();
    references(document, &mut all);
    assert!(all.len() > 50);
    for reference in all {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

#[test]
fn v3_describes_paths_and_types() {
    let (gv, resources) = apps();
    let document = v3(&gv, &resources);
    assert_closed(&document);
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(patch["operationId"], "patchAppsV1NamespacedDeployment");
    assert_eq!(patch["x-kubernetes-action"], "patch");
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "kind": "Deployment", "version": "v1"})
    );
    let parameters: Vec<&str> =
        patch["parameters"].as_array().unwrap().iter().filter_map(|p| p["name"].as_str()).collect();
    assert_eq!(parameters, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    let scale = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"];
    assert_eq!(scale["get"]["operationId"], "readAppsV1NamespacedDeploymentScale");
    assert_eq!(scale["get"]["x-kubernetes-group-version-kind"]["kind"], "Scale");
    assert!(document["paths"].get("/apis/apps/v1/deployments").is_some());

    let schemas = &document["components"]["schemas"];
    let deployment = &schemas["io.k8s.api.apps.v1.Deployment"];
    assert_eq!(deployment["x-kubernetes-group-version-kind"][0]["kind"], "Deployment");
    assert_eq!(
        deployment["properties"]["spec"]["allOf"],
        json!([{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"}])
    );
    let ports = &schemas["io.k8s.api.core.v1.Container"]["properties"]["ports"];
    assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["containerPort", "protocol"]));
    assert_eq!(ports["x-kubernetes-patch-merge-key"], "containerPort");
    assert_eq!(ports["x-kubernetes-patch-strategy"], "merge");
    let volumes = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["volumes"];
    assert_eq!(volumes["x-kubernetes-patch-strategy"], "merge,retainKeys");
    assert!(deployment.get("required").is_none());
    assert_eq!(schemas["io.k8s.api.apps.v1.DeploymentCondition"]["required"], json!(["status", "type"]));
    assert!(volumes["description"].as_str().unwrap().len() > 20);
}

#[test]
fn custom_kinds_are_described_by_their_schema() {
    let mut crontab = spec("stable.example.com", "v1", "CronTab", "crontabs");
    crontab.schema = Some(json!({"type": "object", "properties": {"spec": {"type": "object"}}}));
    let document = v3(&GroupVersion::new("stable.example.com", "v1"), &[crontab]);
    let definition = &document["components"]["schemas"]["com.example.stable.v1.CronTab"];
    assert_eq!(definition["properties"]["spec"], json!({"type": "object"}));
    assert!(definition["properties"].get("metadata").is_some());
    assert!(document["components"]["schemas"].get("com.example.stable.v1.CronTabList").is_some());
    let get = &document["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}"]["get"];
    assert_eq!(get["operationId"], "readStableExampleComV1NamespacedCronTab");
}

#[test]
fn v2_is_closed_and_agrees_with_v3() {
    let mut pod = spec("", "v1", "Pod", "pods");
    pod.subresources.push(SubresourceSpec {
        name: "exec".to_owned(),
        gvk: GroupVersionKind::new("", "v1", "PodExecOptions"),
        verbs: verbs("create get"),
    });
    let document = v2(&[(GroupVersion::new("", "v1"), vec![pod]), apps()]);
    assert_closed(&document);
    let exec = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/exec"];
    assert_eq!(exec["post"]["operationId"], "connectCoreV1PostNamespacedPodExec");
    assert_eq!(exec["get"]["x-kubernetes-action"], "connect");
    let int_or_string = &document["definitions"]["io.k8s.apimachinery.pkg.util.intstr.IntOrString"];
    assert_eq!((&int_or_string["type"], &int_or_string["format"]), (&json!("string"), &json!("int-or-string")));
}

#[test]
fn protobuf_is_written_field_by_field() {
    let document = json!({
        "swagger": "2.0", "info": {"title": "K", "version": "v"},
        "paths": {"/p": {"get": {"operationId": "o", "x-kubernetes-action": "get"}}},
        "definitions": {"D": {"type": "object", "properties": {"a": {"$ref": "#/definitions/D"}}}},
    });
    let bytes = v2_protobuf(&document);
    let expected = [
        b"\x0a\x032.0".as_slice(),
        b"\x12\x06\x0a\x01K\x12\x01v",
        // paths: one path with a get operation, its identifier, empty responses and an extension
        b"\x42\x2f\x12\x2d\x0a\x02/p\x12\x27\x12\x25\x2a\x01o\x4a\x00\x6a\x1e\x0a\x13x-kubernetes-action\x12\x07\x12\x05\"get\"",
    ];
    let mut rest = bytes.as_slice();
    for part in expected {
        assert!(rest.starts_with(part), "{rest:02x?}\n{part:02x?}");
        rest = &rest[part.len()..];
    }
}
