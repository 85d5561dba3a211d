//! IngressClasses.

use api::field::FieldError;
use api::names;
use serde_json::Value;

use crate::Rules;
use crate::check::{self, At, Errors};

const LONGEST_CONTROLLER: usize = 250;

pub(super) static INGRESS_CLASS: Rules = Rules {
    validate,
    validate_update: |new, old| {
        let mut errors = Errors::new();
        let (now, was) = (At::field(new, "spec").get("controller"), At::field(old, "spec").get("controller"));
        check::immutable(&now, &was, check::IMMUTABLE, &mut errors);
        errors
    },
    ..Rules::PLAIN
};

fn validate(class: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(class, "spec");
    let controller = spec.get("controller");
    if controller.is_empty() {
        errors.push(controller.required("at least one controller is required"));
        return errors;
    }
    if controller.str().len() > LONGEST_CONTROLLER {
        errors.push(FieldError::too_long(&controller.path, LONGEST_CONTROLLER));
    }
    check::domain_prefixed_path(&controller, &mut errors);
    parameters(&spec.get("parameters"), &mut errors);
    errors
}

/// An object of any kind: of the cluster, or of a namespace.
fn parameters(at: &At<'_>, errors: &mut Errors) {
    if !at.is_set() {
        return;
    }
    reference(at, errors);
    let (scope, namespace) = (at.get("scope"), at.get("namespace"));
    match scope.str() {
        "Namespace" if !namespace.is_set() => {
            errors.push(namespace.required("`parameters.scope` is set to 'Namespace'"));
        }
        "Namespace" => check::named(&namespace, names::dns_label, errors),
        "Cluster" if namespace.is_set() => {
            errors.push(namespace.forbidden("`parameters.scope` is set to 'Cluster'"));
        }
        "Cluster" => {}
        _ if !scope.is_set() => errors.push(scope.required("")),
        _ => errors.push(scope.not_supported(&["Cluster", "Namespace"])),
    }
}

/// Group, kind and name of an object.
pub(super) fn reference(at: &At<'_>, errors: &mut Errors) {
    let group = at.get("apiGroup");
    if group.is_set() {
        check::named(&group, names::dns_subdomain, errors);
    }
    for field in ["kind", "name"] {
        check::required_named(&at.get(field), names::path_segment, errors);
    }
}
