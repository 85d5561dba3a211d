use api::GroupVersionKind;
use serde_json::{Value, json};

fn error(value: Value) -> Option<String> {
    let schema = crate::builtin(&GroupVersionKind::new("apps", "v1", "Deployment")).unwrap();
    schema.check_types(&value).err().map(|error| error.to_string())
}

#[test]
fn wrong_types_are_reported_as_go_does() {
    for (value, message) in [
        (
            json!({"spec": {"replicas": "3"}}),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec": {"replicas": 3.5}}),
            "json: cannot unmarshal number 3.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec": {"replicas": 3_000_000_000_u64}}),
            "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"metadata": {"labels": {"a": 1}}}),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"image": true}]}}}}),
            "json: cannot unmarshal bool into Go struct field Container.spec.template.spec.containers.image of type string",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": {}}}}}),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            json!({"spec": []}),
            "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec",
        ),
        (
            json!({"spec": {"template": {"spec": {"overhead": {"cpu": "much"}}}}}),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            json!({"metadata": {"creationTimestamp": "yesterday"}}),
            "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\"",
        ),
    ] {
        assert_eq!(error(value).as_deref(), Some(message));
    }
}

#[test]
fn right_types_nulls_and_unknown_fields_pass() {
    assert_eq!(
        error(json!({
            "metadata": {"creationTimestamp": null, "deletionTimestamp": "2024-01-02T03:04:05Z"}, "unknown": [1],
            "spec": {"replicas": 3, "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
                "template": {"spec": {"overhead": {"cpu": "1500m", "memory": 1024, "x": "12E6", "y": "-1.5Gi", "z": ".5"}}}},
        })),
        None
    );
    let secret = crate::builtin(&GroupVersionKind::new("", "v1", "Secret")).unwrap();
    secret.check_types(&json!({"data": {"a": "aGVsbG8=", "b": "", "c": "YQ==\n"}})).unwrap();
    let bad = secret.check_types(&json!({"data": {"a": "a$"}})).unwrap_err();
    assert_eq!(bad.to_string(), "illegal base64 data at input byte 1");
}
