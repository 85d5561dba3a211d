use serde_json::{Value, json};

use super::{counted, counts, spelled, unsaid, usage};

fn pod() -> Value {
    json!({"metadata": {"name": "p"}, "spec": {
        "containers": [
            {"name": "a", "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"cpu": "1"}}},
            {"name": "b", "resources": {"requests": {"cpu": "200m", "example.com/gpu": "1"}}}],
        "initContainers": [{"name": "i", "resources": {"requests": {"cpu": "1"}}}]}})
}

fn spell(group: &str, plural: &str, object: &Value) -> Vec<String> {
    usage(group, plural, object)
        .into_iter()
        .map(|(name, amount)| format!("{name}={}", spelled(&name, amount)))
        .collect()
}

#[test]
fn what_objects_cost() {
    assert_eq!(
        spell("", "pods", &pod()),
        [
            "count/pods=1",
            "cpu=1",
            "example.com/gpu=1",
            "limits.cpu=1",
            "memory=1Gi",
            "pods=1",
            "requests.cpu=1",
            "requests.example.com/gpu=1",
            "requests.memory=1Gi"
        ]
    );
    let mut ended = pod();
    ended["status"] = json!({"phase": "Succeeded"});
    assert_eq!(spell("", "pods", &ended), ["count/pods=1"]);
    let service = json!({"spec": {"type": "LoadBalancer", "ports": [{}, {}]}});
    let expected = ["count/services=1", "services=1", "services.loadbalancers=1", "services.nodeports=2"];
    assert_eq!(spell("", "services", &service), expected);
    assert_eq!(spell("apps", "deployments", &json!({})), ["count/deployments.apps=1"]);
    let claim = json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "2Gi"}}}});
    assert!(
        spell("", "persistentvolumeclaims", &claim)
            .contains(&"fast.storageclass.storage.k8s.io/requests.storage=2Gi".to_owned())
    );
}

#[test]
fn names_lead_back_to_what_they_count() {
    for (name, expected) in [
        ("count/deployments.apps", Some(("apps", "deployments"))),
        ("count/pods", Some(("", "pods"))),
        ("limits.memory", Some(("", "pods"))),
        ("requests.example.com/gpu", Some(("", "pods"))),
        ("requests.storage", Some(("", "persistentvolumeclaims"))),
        ("services.nodeports", Some(("", "services"))),
        ("nonsense", None),
    ] {
        assert_eq!(counted(name), expected, "{name}");
    }
}

#[test]
fn scopes_choose_pods() {
    let scoped = |scope: &str| counts(&json!({"spec": {"scopes": [scope]}}), "", "pods", &pod());
    assert_eq!((scoped("BestEffort"), scoped("NotBestEffort")), (false, true));
    assert_eq!((scoped("Terminating"), scoped("NotTerminating")), (false, true));
    let class = |operator: &str, values: Value| {
        let expression = json!({"scopeName": "PriorityClass", "operator": operator, "values": values});
        let mut pod = pod();
        pod["spec"]["priorityClassName"] = json!("high");
        counts(&json!({"spec": {"scopeSelector": {"matchExpressions": [expression]}}}), "", "pods", &pod)
    };
    assert!(class("In", json!(["high"])) && class("Exists", json!(null)) && !class("NotIn", json!(["high"])));
    assert!(!counts(&json!({"spec": {"scopes": ["BestEffort"]}}), "", "services", &json!({})));
}

#[test]
fn what_containers_must_say() {
    let said = unsaid(&pod(), ["limits.cpu", "memory", "pods", "requests.cpu"].into_iter());
    assert_eq!(said.as_deref(), Some("must specify limits.cpu for: b,i; memory for: b,i"));
    assert_eq!(unsaid(&pod(), ["cpu"].into_iter()), None);
}
