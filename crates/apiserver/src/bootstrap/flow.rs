//! The mandatory flow schemas and priority levels.
//!
//! <https://kubernetes.io/docs/concepts/cluster-administration/flow-control/>

use serde_json::{Value, json};

/// `exempt` and `catch-all`, each with its level.
pub(crate) fn objects() -> Vec<(String, Value)> {
    let metadata = |name: &str| json!({"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}});
    let everything = json!([{
        "resourceRules": [{
            "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"],
        }],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    }]);
    let schema = |name: &str, precedence: i32, groups: &[&str]| {
        let subjects: Vec<Value> = groups.iter().map(|g| json!({"kind": "Group", "group": {"name": g}})).collect();
        let mut rules = everything.clone();
        if let Some(rule) = rules.get_mut(0) {
            api::meta::put(rule, "subjects", subjects);
        }
        json!({
            "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": metadata(name),
            "spec": {
                "matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": name}, "rules": rules,
            },
        })
    };
    let level = |name: &str, spec: Value| {
        json!({
            "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration",
            "metadata": metadata(name), "spec": spec,
        })
    };
    let exempt = json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}});
    let rest = json!({
        "type": "Limited",
        "limited": {"nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"}},
    });
    let everybody = ["system:unauthenticated", "system:authenticated"];
    vec![
        ("flowschemas".into(), schema("exempt", 1, &["system:masters"])),
        ("flowschemas".into(), schema("catch-all", 10_000, &everybody)),
        ("prioritylevelconfigurations".into(), level("exempt", exempt)),
        ("prioritylevelconfigurations".into(), level("catch-all", rest)),
    ]
}
