use api::GroupVersionKind;
use serde_json::{Value, json};

fn defaulted(group: &str, version: &str, kind: &str, mut value: Value) -> Value {
    let schema = crate::builtin(&GroupVersionKind::new(group, version, kind)).unwrap();
    schema.apply_defaults(&mut value);
    value
}

#[test]
fn a_pod_gets_its_defaults() {
    let pod = defaulted(
        "",
        "v1",
        "Pod",
        json!({"spec": {"containers": [{
            "name": "c", "ports": [{"containerPort": 80, "protocol": ""}],
            "livenessProbe": {"httpGet": {"port": 80}, "timeoutSeconds": 0, "periodSeconds": 3},
        }]}}),
    );
    assert_eq!(
        pod,
        json!({"spec": {
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
            "terminationGracePeriodSeconds": 30, "securityContext": {}, "enableServiceLinks": true,
            "containers": [{
                "name": "c", "ports": [{"containerPort": 80, "protocol": "TCP"}], "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                "livenessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1,
                    "periodSeconds": 3, "successThreshold": 1, "failureThreshold": 3},
            }],
        }})
    );
}

#[test]
fn defaults_are_bound_to_their_place_and_condition() {
    let recreate = defaulted("apps", "v1", "Deployment", json!({"spec": {"strategy": {"type": "Recreate"}}}));
    assert_eq!(
        recreate,
        json!({"spec": {"strategy": {"type": "Recreate"}, "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600}})
    );
    let rolling = defaulted("apps", "v1", "Deployment", json!({"spec": {"replicas": 0}}));
    assert_eq!(
        rolling["spec"]["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
    );
    assert_eq!(rolling["spec"]["replicas"], 0);
    // enableServiceLinks belongs to the Pod, not to templates; Job defaults not to a CronJob's template.
    let template = defaulted("apps", "v1", "Deployment", json!({"spec": {"template": {"spec": {}}}}));
    assert!(template["spec"]["template"]["spec"].get("enableServiceLinks").is_none());
    let cron = defaulted("batch", "v1", "CronJob", json!({"spec": {"jobTemplate": {"spec": {}}}}));
    assert_eq!(cron["spec"]["jobTemplate"]["spec"], json!({}));
    assert_eq!(defaulted("batch", "v1", "Job", json!({"spec": {}}))["spec"]["backoffLimit"], 6);
    let indexed = defaulted("batch", "v1", "Job", json!({"spec": {"backoffLimitPerIndex": 1}}));
    assert!(indexed["spec"].get("backoffLimit").is_none());
    assert_eq!(defaulted("", "v1", "Pod", json!({})), json!({}));
}

#[test]
fn defaulting_twice_changes_nothing() {
    for (group, version, kind, value) in [
        (
            "apps",
            "v1",
            "StatefulSet",
            json!({"spec": {"template": {"spec": {"containers": [{}]}}, "volumeClaimTemplates": [{"spec": {}}]}}),
        ),
        ("", "v1", "Service", json!({"spec": {"ports": [{"port": 80}], "sessionAffinity": "ClientIP"}})),
        (
            "rbac.authorization.k8s.io",
            "v1",
            "RoleBinding",
            json!({"roleRef": {}, "subjects": [{"kind": "User"}, {"kind": "ServiceAccount"}]}),
        ),
    ] {
        let once = defaulted(group, version, kind, value);
        assert_eq!(defaulted(group, version, kind, once.clone()), once);
    }
}
