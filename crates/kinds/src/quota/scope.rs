//! Quotas that count only some pods.

use serde_json::Value;

/// Whether an object counts towards a quota, by the quota's scopes. Only pods have scopes.
pub fn counts(quota: &Value, group: &str, plural: &str, object: &Value) -> bool {
    let scopes = quota.pointer("/spec/scopes").and_then(Value::as_array).into_iter().flatten();
    let expressions = quota.pointer("/spec/scopeSelector/matchExpressions").and_then(Value::as_array);
    let expressions: Vec<&Value> = expressions.into_iter().flatten().collect();
    let scopes: Vec<&str> = scopes.filter_map(Value::as_str).collect();
    if scopes.is_empty() && expressions.is_empty() {
        return true;
    }
    let is_pod = group.is_empty() && plural == "pods";
    is_pod && scopes.iter().all(|scope| has(object, scope)) && expressions.iter().all(|e| matches(object, e))
}

fn has(pod: &Value, scope: &str) -> bool {
    let spec = |field: &str| pod.get("spec").and_then(|spec| spec.get(field));
    let ends = spec("activeDeadlineSeconds").and_then(Value::as_i64).is_some_and(|seconds| seconds >= 0);
    let best_effort = || crate::core::pod::quality(pod) == "BestEffort";
    match scope {
        "Terminating" => ends,
        "NotTerminating" => !ends,
        "BestEffort" => best_effort(),
        "NotBestEffort" => !best_effort(),
        "PriorityClass" => spec("priorityClassName").and_then(Value::as_str).is_some_and(|name| !name.is_empty()),
        "CrossNamespacePodAffinity" => crosses_namespaces(pod),
        _ => false,
    }
}

fn matches(pod: &Value, expression: &Value) -> bool {
    let scope = api::meta::at(expression, "/scopeName");
    let operator = api::meta::at(expression, "/operator");
    if scope != "PriorityClass" || operator == "Exists" {
        return has(pod, scope);
    }
    let class = api::meta::at(pod, "/spec/priorityClassName");
    let values = expression.get("values").and_then(Value::as_array);
    let listed = values.into_iter().flatten().any(|value| value == class);
    match operator {
        "In" => listed,
        "NotIn" => !listed,
        "DoesNotExist" => class.is_empty(),
        _ => false,
    }
}

fn crosses_namespaces(pod: &Value) -> bool {
    let crosses = |term: &Value| {
        let list = term.get("namespaces").and_then(Value::as_array);
        list.is_some_and(|list| !list.is_empty()) || term.get("namespaceSelector").is_some_and(|s| !s.is_null())
    };
    let affinities =
        ["podAffinity", "podAntiAffinity"].iter().filter_map(|kind| pod.pointer(&format!("/spec/affinity/{kind}")));
    affinities.into_iter().any(|affinity| {
        let required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution").and_then(Value::as_array);
        let preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution").and_then(Value::as_array);
        required.into_iter().flatten().any(crosses)
            || preferred.into_iter().flatten().filter_map(|wish| wish.get("podAffinityTerm")).any(crosses)
    })
}
