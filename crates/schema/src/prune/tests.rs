use api::GroupVersionKind;
use serde_json::json;

#[test]
fn unknown_fields_go_and_are_named() {
    let schema = crate::builtin(&GroupVersionKind::new("apps", "v1", "Deployment")).unwrap();
    let mut value = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "zoo": 1,
        "metadata": {"name": "a", "creationTimestamp": null, "labels": {"x": "y", "z": null}},
        "spec": {"foo": 1, "template": {"spec": {"containers": [{"name": "c", "bar": {"deep": 1}}, null], "volumes": null}}},
    });
    assert_eq!(schema.prune(&mut value), ["spec.foo", "spec.template.spec.containers[0].bar", "zoo"]);
    assert_eq!(
        value,
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "a", "labels": {"x": "y", "z": ""}},
            "spec": {"template": {"spec": {"containers": [{"name": "c"}, {}]}}},
        })
    );
}

#[test]
fn opaque_places_are_kept() {
    let schema = crate::builtin(&GroupVersionKind::new("apps", "v1", "ControllerRevision")).unwrap();
    let mut value = json!({
        "data": {"anything": {"goes": [null]}},
        "metadata": {"managedFields": [{"fieldsV1": {"f:spec": {}}}]},
    });
    let before = value.clone();
    assert!(schema.prune(&mut value).is_empty());
    assert_eq!(value, before);
    // A struct without fields keeps nothing.
    let crd = crate::builtin(&GroupVersionKind::new("apiextensions.k8s.io", "v1", "CustomResourceDefinition")).unwrap();
    let mut value = json!({"spec": {"versions": [{"subresources": {"status": {"x": 1}}, "schema": {"openAPIV3Schema": {
        "default": {"kept": 1}, "properties": {"a": {"x-kubernetes-int-or-string": true, "items": {"type": "string"}}}}}}]}});
    assert_eq!(crd.prune(&mut value), ["spec.versions[0].subresources.status.x"]);
}
