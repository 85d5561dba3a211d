//! Pod templates.

use crate::check::{self, At, Errors};

/// Complaints about the template at `at`; paths are upstream's, which leave `metadata` out.
pub(crate) fn validate(at: &At<'_>, errors: &mut Errors) {
    let metadata = at.get("metadata");
    let labels = At::new(metadata.get("labels").value, format!("{}.labels", at.path));
    check::labels(&labels, errors);
    let annotations = At::new(metadata.get("annotations").value, format!("{}.annotations", at.path));
    for (key, _) in annotations.entries() {
        if let Err(why) = api::names::qualified_name(&key.to_lowercase()) {
            errors.push(api::field::FieldError::invalid(&annotations.path, &key.into(), why));
        }
    }
    let spec = at.get("spec");
    super::spec::validate(&spec, errors);
    let ephemeral = spec.get("ephemeralContainers");
    if !ephemeral.is_empty() {
        errors.push(ephemeral.forbidden("ephemeral containers not allowed in pod template"));
    }
}

/// A template whose pods run for ever, and are found by a selector: of Deployments, ReplicaSets and their like.
pub(crate) fn of_controller(spec: &At<'_>, owner: &str, empty: &str, errors: &mut Errors) {
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    if !selector.is_set() {
        errors.push(selector.required(""));
    } else {
        check::label_selector(&selector, errors);
        if selector.get("matchLabels").is_empty() && selector.get("matchExpressions").is_empty() {
            errors.push(selector.invalid(format!("empty selector is invalid for {empty}")));
        } else {
            matches(&selector, &template, errors);
        }
    }
    validate(&template, errors);
    let pod = template.get("spec");
    let policy = pod.get("restartPolicy");
    if policy.str() != "Always" {
        errors.push(policy.not_supported(&["Always"]));
    }
    let deadline = pod.get("activeDeadlineSeconds");
    if deadline.is_set() {
        errors.push(deadline.forbidden(format!("activeDeadlineSeconds in {owner} is not Supported")));
    }
}

fn matches(selector: &At<'_>, template: &At<'_>, errors: &mut Errors) {
    let labels = template.get("metadata").get("labels");
    let fits = api::selector::LabelSelector::from_object(selector.value)
        .ok()
        .flatten()
        .is_none_or(|s| s.matches_by(|key| labels.value.get(key).and_then(serde_json::Value::as_str)));
    if !fits {
        errors.push(labels.invalid("`selector` does not match template `labels`"));
    }
}
