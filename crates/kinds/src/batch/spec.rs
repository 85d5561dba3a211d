//! The spec of a Job, or of a CronJob's template of Jobs.

use super::policy;
use crate::check::{self, At, Errors};
use crate::core::pod::template;

/// What of an indexed Job is written in its status is bounded by these.
const MOST_PARALLEL: i64 = 100_000;
const MOST_FAILED: i64 = 100_000;
const MANY_COMPLETIONS: i64 = 100_000;
const MOST_PARALLEL_OF_MANY: i64 = 10_000;
const MOST_FAILED_OF_MANY: i64 = 10_000;
const LONGEST_MANAGER: usize = 63;

pub(super) fn is_indexed(spec: &At<'_>) -> bool {
    spec.get("completionMode").str() == "Indexed"
}

pub(super) fn validate(spec: &At<'_>, errors: &mut Errors) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        check::not_negative(&spec.get(field), errors);
    }
    let per_index = spec.get("backoffLimitPerIndex");
    if spec.get("maxFailedIndexes").is_set() && !per_index.is_set() {
        errors.push(per_index.required("when maxFailedIndexes is specified"));
    }
    manager(&spec.get("managedBy"), errors);
    check::one_of(&spec.get("completionMode"), &["NonIndexed", "Indexed"], errors);
    if is_indexed(spec) {
        indexed(spec, errors);
    } else {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"].map(|field| spec.get(field)) {
            if field.is_set() {
                errors.push(field.invalid("requires indexed completion mode"));
            }
        }
    }
    policy::failure(spec, errors);
    policy::success(spec, errors);
    policy::replacement(spec, errors);
    template::validate(&spec.get("template"), errors);
    restart_policy(spec, errors);
}

fn manager(at: &At<'_>, errors: &mut Errors) {
    if !at.is_set() {
        return;
    }
    check::domain_prefixed_path(at, errors);
    if at.str().len() > LONGEST_MANAGER {
        errors.push(api::field::FieldError::too_long(&at.path, LONGEST_MANAGER));
    }
}

fn indexed(spec: &At<'_>, errors: &mut Errors) {
    let (completions, parallelism, failed) =
        (spec.get("completions"), spec.get("parallelism"), spec.get("maxFailedIndexes"));
    let above = |at: &At<'_>, most: i64| at.int().is_some_and(|number| number > most);
    if !completions.is_set() {
        errors.push(completions.required("when completion mode is Indexed"));
    }
    if above(&parallelism, MOST_PARALLEL) {
        let why = format!("must be less than or equal to {MOST_PARALLEL} when completion mode is Indexed");
        errors.push(parallelism.invalid(why));
    }
    if completions.int().is_some_and(|all| above(&failed, all)) {
        errors.push(failed.invalid("must be less than or equal to completions"));
    }
    if above(&failed, MOST_FAILED) {
        errors.push(failed.invalid(format!("must be less than or equal to {MOST_FAILED}")));
    }
    if !above(&completions, MANY_COMPLETIONS) || !spec.get("backoffLimitPerIndex").is_set() {
        return;
    }
    if !failed.is_set() {
        errors.push(failed.required(&format!("must be specified when completions is above {MANY_COMPLETIONS}")));
    }
    for (at, most) in [(&parallelism, MOST_PARALLEL_OF_MANY), (&failed, MOST_FAILED_OF_MANY)] {
        if above(at, most) {
            errors.push(at.invalid(format!(
                "must be less than or equal to {most} when completions are above {MANY_COMPLETIONS} and used with backoff limit per index"
            )));
        }
    }
}

fn restart_policy(spec: &At<'_>, errors: &mut Errors) {
    let at = spec.get("template").get("spec").get("restartPolicy");
    match at.str() {
        "OnFailure" if spec.get("podFailurePolicy").is_set() => {
            errors.push(at.invalid("only \"Never\" is supported when podFailurePolicy is specified"));
        }
        "OnFailure" | "Never" => {}
        "Always" | "" => errors.push(at.required("valid values: \"OnFailure\", \"Never\"")),
        _ => errors.push(at.not_supported(&["OnFailure", "Never"])),
    }
}
