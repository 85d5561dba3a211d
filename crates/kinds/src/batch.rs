//! Jobs and CronJobs.

use api::field::FieldError;
use serde_json::{Value, json};

use crate::check::{self, At, Errors};
use crate::core::pod::template;
use crate::{NameRule, Rules};

const UID_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

pub(crate) fn rules(kind: &str) -> &'static Rules {
    match kind {
        "Job" => &JOB,
        "CronJob" => &CRON_JOB,
        _ => &Rules::PLAIN,
    }
}

static JOB: Rules = Rules {
    names: NameRule::Subdomain,
    fields: &[("status.successful", "/status/succeeded")],
    default: default_job,
    prepare_create,
    validate: |job| {
        let mut errors = Errors::new();
        let spec = At::field(job, "spec");
        job_spec(&spec, &mut errors);
        job_selector(job, &spec, &mut errors);
        errors
    },
    validate_update: update,
    ..Rules::PLAIN
};

static CRON_JOB: Rules = Rules {
    default: |cron| {
        if let Some(spec) = cron.pointer_mut("/spec/jobTemplate/spec/template/spec").and_then(Value::as_object_mut) {
            crate::core::pod::default_spec(spec);
        }
    },
    prepare_create: |cron| api::meta::put(cron, "status", json!({})),
    validate: cron_job,
    ..Rules::PLAIN
};

fn default_job(job: &mut Value) {
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
fn prepare_create(job: &mut Value) {
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

fn job_spec(spec: &At<'_>, errors: &mut Errors) {
    for field in ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"] {
        check::not_negative(&spec.get(field), errors);
    }
    check::one_of(&spec.get("completionMode"), &["Indexed", "NonIndexed"], errors);
    check::one_of(&spec.get("podReplacementPolicy"), &["Failed", "TerminatingOrFailed"], errors);
    let completions = spec.get("completions");
    if spec.get("completionMode").str() == "Indexed" && !completions.is_set() {
        errors.push(completions.required("when completion mode is Indexed"));
    }
    template::validate(&spec.get("template"), errors);
    let policy = spec.get("template").get("spec").get("restartPolicy");
    match policy.str() {
        "OnFailure" | "Never" => {}
        "Always" | "" => errors.push(policy.required("valid values: \"OnFailure\", \"Never\"")),
        _ => errors.push(policy.not_supported(&["OnFailure", "Never"])),
    }
}

fn job_selector(job: &Value, spec: &At<'_>, errors: &mut Errors) {
    let selector = spec.get("selector");
    if !selector.is_set() {
        errors.push(selector.required(""));
        return;
    }
    check::label_selector(&selector, errors);
    let labels = spec.get("template").get("metadata").get("labels");
    let fits = api::selector::LabelSelector::from_object(selector.value)
        .ok()
        .flatten()
        .is_none_or(|s| s.matches_by(|key| labels.value.get(key).and_then(Value::as_str)));
    if !fits {
        errors.push(labels.invalid("`selector` does not match template `labels`"));
    }
    if spec.get("manualSelector").is_true() {
        return;
    }
    let uid = api::meta::uid(job);
    let wanted = selector.get("matchLabels").get(UID_LABELS[0]).str();
    if wanted != uid {
        errors.push(selector.invalid("`selector` not auto-generated"));
    }
}

fn update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let (now, was) = (At::field(new, "spec"), At::field(old, "spec"));
    let indexed = now.get("completionMode").str() == "Indexed";
    let elastic = indexed && now.get("completions").value == now.get("parallelism").value;
    if !elastic {
        check::immutable(&now.get("completions"), &was.get("completions"), check::IMMUTABLE, &mut errors);
    }
    for field in
        ["selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"]
    {
        check::immutable(&now.get(field), &was.get(field), check::IMMUTABLE, &mut errors);
    }
    let suspended = was.get("suspend").is_true();
    if !suspended {
        check::immutable(&now.get("template"), &was.get("template"), check::IMMUTABLE, &mut errors);
    }
    errors
}

fn cron_job(cron: &Value) -> Errors {
    let mut errors = Errors::new();
    let name = api::meta::name(cron);
    if name.len() > 52 {
        errors.push(FieldError::invalid("metadata.name", &name.into(), "must be no more than 52 characters"));
    }
    let spec = At::field(cron, "spec");
    let schedule = spec.get("schedule");
    if check::required(&schedule, &mut errors)
        && let Err(why) = check_schedule(schedule.str())
    {
        errors.push(schedule.invalid(why));
    }
    let zone = spec.get("timeZone");
    match zone.value {
        Value::String(name) if name.is_empty() => errors.push(zone.invalid("timeZone must be nil or non-empty string")),
        Value::String(name) if name.eq_ignore_ascii_case("local") => {
            errors.push(
                zone.invalid("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"),
            );
        }
        Value::String(name) if api::schedule::zone(name).is_none() => {
            errors.push(zone.invalid(format!("unknown time zone {name}")));
        }
        _ => {}
    }
    for field in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        check::not_negative(&spec.get(field), &mut errors);
    }
    check::required_one_of(&spec.get("concurrencyPolicy"), &["Allow", "Forbid", "Replace"], &mut errors);
    job_spec(&spec.get("jobTemplate").get("spec"), &mut errors);
    errors
}

fn check_schedule(text: &str) -> Result<(), String> {
    if text.contains("TZ") {
        return Err("cannot use TZ or CRON_TZ in schedule, use timeZone field instead".into());
    }
    api::schedule::Schedule::parse(text).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_selects_by_its_own_uid() {
        let mut job = json!({
            "metadata": {"name": "pi", "uid": "u1"},
            "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": []}}},
        });
        default_job(&mut job);
        prepare_create(&mut job);
        assert_eq!(job.pointer("/spec/completions"), Some(&json!(1)));
        assert_eq!(
            job.pointer("/spec/selector/matchLabels"),
            Some(&json!({"batch.kubernetes.io/controller-uid": "u1"}))
        );
        let labels = job.pointer("/spec/template/metadata/labels").unwrap();
        assert_eq!(labels.get("job-name"), Some(&json!("pi")));
        let mut errors = Errors::new();
        job_selector(&job, &At::field(&job, "spec"), &mut errors);
        assert_eq!(errors, Vec::new());
    }
}
