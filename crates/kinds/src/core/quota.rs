//! ResourceQuotas: names, scopes, and what may not change.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::Rules;
use crate::check::{self, At, Errors, resource};

pub(super) static QUOTA: Rules = Rules {
    has_generation: false,
    prepare_create: |quota| api::meta::put(quota, "status", json!({})),
    validate,
    validate_update: |new, old| {
        let mut errors = Errors::new();
        let (now, was) = (At::field(new, "spec").get("scopes"), At::field(old, "spec").get("scopes"));
        let set = |at: &At<'_>| at.items().map(|scope| scope.str().to_owned()).collect::<HashSet<_>>();
        if set(&now) != set(&was) {
            errors.push(now.invalid(check::IMMUTABLE));
        }
        errors
    },
    validate_status: |new, _| {
        let mut errors = Errors::new();
        for field in ["hard", "used"] {
            amounts(&At::field(new, "status").get(field), &mut errors);
        }
        errors
    },
    ..Rules::PLAIN
};

const SCOPES: &[&str] = &[
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

fn validate(quota: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(quota, "spec");
    amounts(&spec.get("hard"), &mut errors);
    scopes(&spec, &mut errors);
    selector(&spec, &mut errors);
    errors
}

fn amounts(map: &At<'_>, errors: &mut Errors) {
    for (name, at) in map.entries() {
        resource::quota(name, &at, errors);
        let Some(amount) = check::quantity(&at, errors) else { continue };
        if resource::is_whole(name) && amount.milli_value() % 1000 != 0 {
            errors.push(at.invalid("must be an integer"));
        }
    }
}

/// Whether a scope says something about a resource. Resources without a name of their own are not looked at.
fn bears_on(scope: &str, resource: &str) -> bool {
    let compute =
        matches!(resource, "cpu" | "memory" | "limits.cpu" | "limits.memory" | "requests.cpu" | "requests.memory");
    match scope {
        _ if !resource::of_quotas(resource) => true,
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => {
            resource == "pods" || compute
        }
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        _ => true,
    }
}

/// Complaints at `at` for each resource that a scope says nothing about.
fn fits(scope: &str, spec: &At<'_>, at: &At<'_>, told: &At<'_>, errors: &mut Errors) {
    for (resource, _) in spec.get("hard").entries() {
        if !bears_on(scope, resource) {
            errors.push(At::new(told.value, &*at.path).invalid("unsupported scope applied to resource"));
        }
    }
}

fn conflicts(said: &HashSet<&str>, at: &At<'_>, told: &At<'_>, errors: &mut Errors) {
    for pair in [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]] {
        if pair.iter().all(|scope| said.contains(scope)) {
            errors.push(At::new(told.value, &*at.path).invalid("conflicting scopes"));
        }
    }
}

fn scopes(spec: &At<'_>, errors: &mut Errors) {
    let scopes = spec.get("scopes");
    for scope in scopes.items() {
        if !SCOPES.contains(&scope.str()) {
            errors.push(scopes.invalid("unsupported scope"));
        }
        fits(scope.str(), spec, &scopes, &scopes, errors);
    }
    conflicts(&scopes.items().map(|scope| scope.str()).collect(), &scopes, &scopes, errors);
}

/// Paths are upstream's, which leave the index out.
fn selector(spec: &At<'_>, errors: &mut Errors) {
    let selector = spec.get("scopeSelector");
    let list = selector.get("matchExpressions");
    for expression in list.items().map(|expression| At::new(expression.value, &*list.path)) {
        let (scope, operator, values) =
            (expression.get("scopeName"), expression.get("operator"), expression.get("values"));
        if !SCOPES.contains(&scope.str()) {
            errors.push(scope.invalid("unsupported scope"));
        }
        fits(scope.str(), spec, &list, &selector, errors);
        if !matches!(scope.str(), "PriorityClass" | "VolumeAttributesClass")
            && SCOPES.contains(&scope.str())
            && operator.str() != "Exists"
        {
            errors.push(operator.invalid("must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"));
        }
        match operator.str() {
            "In" | "NotIn" if values.is_empty() => {
                errors.push(
                    values.required("must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"),
                );
            }
            "In" | "NotIn" => {}
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                errors.push(values.invalid(why));
            }
            "Exists" | "DoesNotExist" => {}
            _ => errors.push(operator.invalid("not a valid selector operator")),
        }
    }
    let said = list.items().map(|expression| expression.get("scopeName").str()).collect();
    conflicts(&said, &list, &spec.get("scopes"), errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::text;

    fn said(spec: Value) -> String {
        text(&validate(&json!({"spec": spec})))
    }

    #[test]
    fn names_and_amounts() {
        let hard = json!({"cpu": "1", "pods": "2", "count/deployments.apps": "3", "requests.acme.io/gpu": "4",
            "gold.storageclass.storage.k8s.io/requests.storage": "5Gi", "requests.hugepages-2Mi": "1Gi"});
        assert_eq!(said(json!({"hard": hard})), "");
        assert_eq!(
            said(json!({"hard": {"gpus": "1", "pods": "500m", "memory": "-1"}})),
            "spec.hard[gpus]: Invalid value: \"gpus\": must be a standard resource type or fully qualified | spec.hard[gpus]: Invalid value: \"gpus\": must be a standard resource for quota | spec.hard[memory]: Invalid value: \"-1\": must be greater than or equal to 0 | spec.hard[pods]: Invalid value: \"500m\": must be an integer"
        );
        let status = json!({"status": {"used": {"x": "1"}}});
        assert!(
            text(&(QUOTA.validate_status)(&status, &status))
                .ends_with("status.used[x]: Invalid value: \"x\": must be a standard resource for quota")
        );
    }

    #[test]
    fn scopes_fit_the_resources_and_each_other() {
        assert_eq!(said(json!({"hard": {"pods": "1"}, "scopes": ["BestEffort"]})), "");
        assert_eq!(
            said(json!({"hard": {"cpu": "1"}, "scopes": ["BestEffort", "NotBestEffort", "Other"]})),
            "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\",\"Other\"]: unsupported scope applied to resource | spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\",\"Other\"]: unsupported scope | spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\",\"Other\"]: conflicting scopes"
        );
        let selector =
            |expression: Value| json!({"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [expression]}});
        for (expression, expected) in [
            (json!({"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}), ""),
            (
                json!({"scopeName": "PriorityClass", "operator": "In"}),
                "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            ),
            (
                json!({"scopeName": "PriorityClass", "operator": "Exists", "values": ["x"]}),
                "spec.scopeSelector.matchExpressions.values: Invalid value: [\"x\"]: must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
            ),
            (
                json!({"scopeName": "PriorityClass", "operator": "x"}),
                "spec.scopeSelector.matchExpressions.operator: Invalid value: \"x\": not a valid selector operator",
            ),
            (
                json!({"scopeName": "x", "operator": "Exists"}),
                "spec.scopeSelector.matchExpressions.scopeName: Invalid value: \"x\": unsupported scope",
            ),
        ] {
            assert_eq!(said(selector(expression)), expected);
        }
        let found = said(selector(json!({"scopeName": "Terminating", "operator": "DoesNotExist"})));
        assert!(
            found.contains("operator: Invalid value: \"DoesNotExist\": must be 'Exist' when scope is any of"),
            "{found}"
        );
    }

    #[test]
    fn scopes_stay() {
        let quota = |scopes: Value| json!({"spec": {"scopes": scopes}});
        let changed = |old: Value, new: Value| text(&(QUOTA.validate_update)(&quota(new), &quota(old)));
        assert_eq!(changed(json!(["A", "B"]), json!(["B", "A"])), "");
        assert_eq!(changed(json!(["A"]), json!(["B"])), "spec.scopes: Invalid value: [\"B\"]: field is immutable");
    }
}
