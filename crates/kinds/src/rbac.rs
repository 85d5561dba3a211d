//! Kinds of rbac.authorization.k8s.io.

use api::field::FieldError;
use serde_json::Value;

use crate::check::{self, At, Errors};
use crate::{NameRule, Rules};

pub(crate) fn rules(kind: &str) -> &'static Rules {
    match kind {
        "Role" => &ROLE,
        "ClusterRole" => &CLUSTER_ROLE,
        "RoleBinding" => &ROLE_BINDING,
        "ClusterRoleBinding" => &CLUSTER_ROLE_BINDING,
        _ => &PLAIN,
    }
}

static PLAIN: Rules = NAMED;
static ROLE: Rules = Rules { validate: |role| role_errors(role, true), ..NAMED };
static CLUSTER_ROLE: Rules = Rules { validate: |role| role_errors(role, false), ..NAMED };
static ROLE_BINDING: Rules =
    Rules { validate: |binding| binding_errors(binding, true), validate_update: role_ref_stays, ..NAMED };
static CLUSTER_ROLE_BINDING: Rules =
    Rules { validate: |binding| binding_errors(binding, false), validate_update: role_ref_stays, ..NAMED };
const NAMED: Rules =
    Rules { names: NameRule::PathSegment, create_on_update: true, has_generation: false, ..Rules::PLAIN };

fn role_errors(role: &Value, namespaced: bool) -> Errors {
    let mut errors = Errors::new();
    for rule in At::field(role, "rules").items() {
        let (groups, resources, urls) = (rule.get("apiGroups"), rule.get("resources"), rule.get("nonResourceURLs"));
        if rule.get("verbs").is_empty() {
            errors.push(rule.get("verbs").required("verbs must contain at least one value"));
        }
        if !urls.is_empty() {
            if namespaced {
                errors.push(urls.invalid("namespaced rules cannot apply to non-resource URLs"));
            }
            if !groups.is_empty() || !resources.is_empty() || !rule.get("resourceNames").is_empty() {
                errors.push(urls.invalid("rules cannot apply to both regular resources and non-resource URLs"));
            }
            continue;
        }
        if groups.is_empty() {
            errors.push(groups.required("resource rules must supply at least one api group"));
        }
        if resources.is_empty() {
            errors.push(resources.required("resource rules must supply at least one resource"));
        }
    }
    for selector in At::field(role, "aggregationRule").get("clusterRoleSelectors").items() {
        check::label_selector(&selector, &mut errors);
    }
    errors
}

fn binding_errors(binding: &Value, namespaced: bool) -> Errors {
    let mut errors = Errors::new();
    let reference = At::field(binding, "roleRef");
    let group = reference.get("apiGroup");
    if group.str() != "rbac.authorization.k8s.io" {
        errors.push(group.not_supported(&["rbac.authorization.k8s.io"]));
    }
    let kinds: &[&str] = if namespaced { &["ClusterRole", "Role"] } else { &["ClusterRole"] };
    let kind = reference.get("kind");
    if !kinds.contains(&kind.str()) {
        errors.push(FieldError::not_supported(&kind.path, &kind.str().into(), kinds));
    }
    check::required_named(&reference.get("name"), api::names::path_segment, &mut errors);
    for subject in At::field(binding, "subjects").items() {
        subject_errors(&subject, namespaced, &mut errors);
    }
    errors
}

fn subject_errors(subject: &At<'_>, namespaced: bool, errors: &mut Errors) {
    let (kind, name, group) = (subject.get("kind"), subject.get("name"), subject.get("apiGroup"));
    check::required(&name, errors);
    match kind.str() {
        "ServiceAccount" => {
            check::optional_named(&name, api::names::dns_subdomain, errors);
            if !group.is_empty() {
                errors.push(group.not_supported(&[""]));
            }
            let namespace = subject.get("namespace");
            if !namespaced {
                check::required(&namespace, errors);
            }
        }
        "User" | "Group" => {
            if group.str() != "rbac.authorization.k8s.io" {
                errors.push(group.not_supported(&["rbac.authorization.k8s.io"]));
            }
        }
        said => errors.push(FieldError::not_supported(&kind.path, &said.into(), &["Group", "ServiceAccount", "User"])),
    }
}

fn role_ref_stays(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    check::immutable(&At::field(new, "roleRef"), &At::field(old, "roleRef"), "cannot change roleRef", &mut errors);
    errors
}
