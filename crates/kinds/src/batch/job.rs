//! Jobs: defaults, the selector that is made for them, and what has to be so at any time.

use api::field::FieldError;
use serde_json::{Value, json};

use super::{NAME_LABELS, UID_LABELS, spec};
use crate::check::{self, At, Errors};

pub(super) fn default(job: &mut Value) {
    crate::core::default_template(job);
    let labels = job.pointer("/spec/template/metadata/labels").filter(|l| l.is_object()).cloned();
    let Some(spec) = job.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let unset = |field: &str| spec.get(field).is_none_or(Value::is_null);
    if unset("parallelism") {
        if unset("completions") {
            spec.insert("completions".into(), 1.into());
        }
        spec.insert("parallelism".into(), 1.into());
    }
    if spec.get("backoffLimit").is_none_or(Value::is_null) {
        let limited = spec.get("backoffLimitPerIndex").is_some_and(|limit| !limit.is_null());
        spec.insert("backoffLimit".into(), if limited { i32::MAX } else { 6 }.into());
    }
    if spec.get("podReplacementPolicy").is_none_or(Value::is_null) {
        spec.insert("podReplacementPolicy".into(), "Failed".into());
    }
    spec.entry("manualSelector").or_insert_with(|| false.into());
    let metadata = api::meta::of_mut(job);
    if let Some(labels) = labels
        && metadata.get("labels").is_none_or(|l| At::new(l, "").is_empty())
    {
        metadata.insert("labels".into(), labels);
    }
}

/// The selector, by the job's own uid, and the labels that it looks for.
pub(super) fn prepare_create(job: &mut Value) {
    api::meta::put(job, "status", json!({}));
    if job.pointer("/spec/manualSelector").and_then(Value::as_bool) == Some(true) {
        return;
    }
    let (uid, name) = (api::meta::uid(job).to_owned(), api::meta::name(job).to_owned());
    let spec = api::meta::child_mut(api::meta::map_mut(job), "spec");
    let labels =
        api::meta::child_mut(api::meta::child_mut(api::meta::child_mut(spec, "template"), "metadata"), "labels");
    for label in UID_LABELS {
        labels.entry(label).or_insert_with(|| uid.as_str().into());
    }
    for label in NAME_LABELS {
        labels.entry(label).or_insert_with(|| name.as_str().into());
    }
    let selector = api::meta::child_mut(spec, "selector");
    let wanted = api::meta::child_mut(selector, "matchLabels");
    wanted.entry(UID_LABELS[0]).or_insert_with(|| uid.into());
}

pub(super) fn validate(job: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(job, "spec");
    spec::validate(&spec, &mut errors);
    selector(&spec, &mut errors);
    host_names(job, &spec, &mut errors);
    errors
}

fn selector(spec: &At<'_>, errors: &mut Errors) {
    let selector = spec.get("selector");
    if !selector.is_set() {
        errors.push(selector.required(""));
        return;
    }
    check::label_selector(&selector, errors);
    let labels = spec.get("template").get("metadata").get("labels");
    if !selects(&selector, |key| labels.value.get(key).and_then(Value::as_str)) {
        errors.push(labels.invalid("`selector` does not match template `labels`"));
    }
}

/// Whether a selector, if it is one, matches labels.
fn selects<'a>(selector: &At<'_>, labels: impl Fn(&str) -> Option<&'a str>) -> bool {
    let parsed = api::selector::LabelSelector::from_object(selector.value).ok().flatten();
    parsed.is_none_or(|selector| selector.matches_by(labels))
}

/// The pod of the last index bears its number in its host name.
fn host_names(job: &Value, spec: &At<'_>, errors: &mut Errors) {
    let completions = spec.get("completions").int().unwrap_or(0);
    if !spec::is_indexed(spec) || completions < 1 {
        return;
    }
    let name = api::meta::name(job);
    let host = format!("{name}-{}", completions - 1);
    if api::names::dns_label(&host).is_err() {
        let why = format!("will not able to create pod with invalid DNS label: {host}");
        errors.push(FieldError::invalid("metadata.name", &name.into(), why));
    }
}

/// Complaints about the labels that the job's own selector looks for. Jobs from before the labels had prefixes lack
/// those.
pub(super) fn generated_selector(job: &Value, prefixed: bool) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(job, "spec");
    let selector = spec.get("selector");
    if spec.get("manualSelector").is_true() || !selector.is_set() {
        return errors;
    }
    let (uid, name) = (api::meta::uid(job), api::meta::name(job));
    if uid.is_empty() {
        errors.push(FieldError::required("metadata.uid", ""));
    }
    let expected = UID_LABELS.map(|label| (label, uid)).into_iter().chain(NAME_LABELS.map(|label| (label, name)));
    let expected: Vec<_> = expected.filter(|(label, _)| prefixed || !label.contains('/')).collect();
    let labels = spec.get("template").get("metadata").get("labels");
    for (label, value) in &expected {
        let (at, why) = (format!("{}[{label}]", labels.path), format!("must be '{value}'"));
        match labels.value.get(label) {
            None => errors.push(FieldError::required(at, why)),
            Some(said) if said != value => errors.push(FieldError::invalid(at, labels.value, why)),
            Some(_) => {}
        }
    }
    if !selects(&selector, |key| expected.iter().find(|(label, _)| *label == key).map(|(_, value)| *value)) {
        errors.push(selector.invalid("`selector` not auto-generated"));
    }
    errors
}
