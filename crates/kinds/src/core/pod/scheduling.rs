//! Tolerations, affinity, topology spread and scheduling gates.

use std::collections::HashSet;

use api::field::FieldError;
use api::names;
use serde_json::{Value, json};

use crate::check::{self, At, Errors};

pub(super) fn validate(spec: &At<'_>, errors: &mut Errors) {
    tolerations(&spec.get("tolerations"), errors);
    affinity(&spec.get("affinity"), errors);
    spread(&spec.get("topologySpreadConstraints"), errors);
    gates(&spec.get("schedulingGates"), errors);
}

/// A list of tolerations.
pub(crate) fn tolerations(list: &At<'_>, errors: &mut Errors) {
    for toleration in list.items() {
        let (key, operator) = (toleration.get("key"), toleration.get("operator"));
        let (value, effect) = (toleration.get("value"), toleration.get("effect"));
        check::optional_named(&key, names::qualified_name, errors);
        if key.is_empty() && operator.str() != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            let said = FieldError::invalid(&operator.path, &operator.str().into(), why);
            errors.push(said);
        }
        if toleration.get("tolerationSeconds").is_set() && effect.str() != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(&effect.path, &effect.str().into(), why));
        }
        match operator.str() {
            "Equal" | "" => {
                if let Err(why) = names::label_value(value.str()) {
                    errors.push(FieldError::invalid(&operator.path, &value.str().into(), why));
                }
            }
            "Exists" if !value.is_empty() => {
                let why = "value must be empty when `operator` is 'Exists'";
                errors.push(FieldError::invalid(&operator.path, toleration.value, why));
            }
            "Exists" | "Lt" | "Gt" => {}
            _ => errors.push(operator.not_supported(&["Equal", "Exists"])),
        }
        check::one_of(&effect, &["NoExecute", "NoSchedule", "PreferNoSchedule"], errors);
    }
}

fn affinity(affinity: &At<'_>, errors: &mut Errors) {
    let node = affinity.get("nodeAffinity");
    let needed = node.get("requiredDuringSchedulingIgnoredDuringExecution");
    if needed.is_set() {
        node_selector(&needed, errors);
    }
    for preferred in node.get("preferredDuringSchedulingIgnoredDuringExecution").items() {
        weight(&preferred, errors);
        node_term(&preferred.get("preference"), errors);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let pods = affinity.get(kind);
        for term in pods.get("requiredDuringSchedulingIgnoredDuringExecution").items() {
            pod_term(&term, errors);
        }
        for preferred in pods.get("preferredDuringSchedulingIgnoredDuringExecution").items() {
            weight(&preferred, errors);
            pod_term(&preferred.get("podAffinityTerm"), errors);
        }
    }
}

fn weight(preferred: &At<'_>, errors: &mut Errors) {
    let weight = preferred.get("weight");
    if !(1..=100).contains(&weight.int().unwrap_or(0)) {
        errors.push(weight.invalid("must be in the range 1-100"));
    }
}

/// A `NodeSelector`.
pub(crate) fn node_selector(selector: &At<'_>, errors: &mut Errors) {
    let terms = selector.get("nodeSelectorTerms");
    if terms.is_empty() {
        errors.push(terms.required("must have at least one node selector term"));
    }
    terms.items().for_each(|term| node_term(&term, errors));
}

fn node_term(term: &At<'_>, errors: &mut Errors) {
    for expression in term.get("matchExpressions").items() {
        let (key, operator, values) = (expression.get("key"), expression.get("operator"), expression.get("values"));
        match operator.str() {
            "In" | "NotIn" if values.is_empty() => {
                errors.push(values.required("must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                errors.push(values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
            }
            "Gt" | "Lt" if values.items().count() != 1 => {
                errors.push(values.required("must be specified single value when `operator` is 'Lt' or 'Gt'"));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            _ => errors.push(operator.invalid("not a valid selector operator")),
        }
        check::named(&key, names::qualified_name, errors);
    }
    for field in term.get("matchFields").items() {
        let (key, operator, values) = (field.get("key"), field.get("operator"), field.get("values"));
        match operator.str() {
            "In" | "NotIn" if values.items().count() != 1 => {
                let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.push(values.required(why));
            }
            "In" | "NotIn" => {}
            _ => errors.push(operator.invalid("not a valid selector operator")),
        }
        if key.str() != "metadata.name" {
            errors.push(key.invalid("not a valid field selector key"));
        }
    }
}

fn pod_term(term: &At<'_>, errors: &mut Errors) {
    check::label_selector(&term.get("labelSelector"), errors);
    check::label_selector(&term.get("namespaceSelector"), errors);
    for namespace in term.get("namespaces").items() {
        if let Err(why) = names::dns_label(namespace.str()) {
            errors.push(FieldError::invalid(format!("{}.namespace", term.path), namespace.value, why));
        }
    }
    topology_key(&term.get("topologyKey"), errors);
}

fn topology_key(key: &At<'_>, errors: &mut Errors) {
    if key.is_empty() {
        errors.push(key.required("can not be empty"));
    } else {
        check::named(key, names::qualified_name, errors);
    }
}

fn spread(constraints: &At<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for constraint in constraints.items() {
        let (skew, key) = (constraint.get("maxSkew"), constraint.get("topologyKey"));
        let when = constraint.get("whenUnsatisfiable");
        if skew.int().unwrap_or(0) <= 0 {
            let value: Value = skew.int().unwrap_or(0).into();
            errors.push(FieldError::invalid(&skew.path, &value, "must be greater than zero"));
        }
        topology_key(&key, errors);
        if !matches!(when.str(), "DoNotSchedule" | "ScheduleAnyway") {
            let said = json!(when.str());
            errors.push(FieldError::not_supported(&when.path, &said, &["DoNotSchedule", "ScheduleAnyway"]));
        }
        if !seen.insert((key.str(), when.str())) {
            let value = format!("{{{}, {}}}", key.str(), when.str());
            let path = format!("{}.{{topologyKey, whenUnsatisfiable}}", constraint.path);
            errors.push(FieldError::duplicate(path, &value.into()));
        }
        let domains = constraint.get("minDomains");
        if domains.int().is_some_and(|d| d <= 0) {
            errors.push(domains.invalid("must be greater than zero"));
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            check::one_of(&constraint.get(policy), &["Honor", "Ignore"], errors);
        }
        check::label_selector(&constraint.get("labelSelector"), errors);
    }
}

fn gates(gates: &At<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for gate in gates.items() {
        let name = gate.get("name");
        if let Err(why) = names::qualified_name(name.str()) {
            errors.push(FieldError::invalid(&gate.path, &name.str().into(), why));
        } else if !seen.insert(name.str()) {
            errors.push(FieldError::duplicate(&gate.path, name.value));
        }
    }
}
