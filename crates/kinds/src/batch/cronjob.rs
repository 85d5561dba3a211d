//! CronJobs.

use api::field::FieldError;
use serde_json::Value;

use super::spec;
use crate::check::{self, At, Errors};

/// A Job is named after its CronJob and the minute; 63 characters are the most.
const LONGEST_NAME: usize = 52;

pub(super) fn validate(cron: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(cron, "spec");
    let schedule = spec.get("schedule");
    if check::required(&schedule, &mut errors)
        && let Err(why) = read_schedule(schedule.str())
    {
        errors.push(schedule.invalid(why));
    }
    for field in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        check::not_negative(&spec.get(field), &mut errors);
    }
    check::required_one_of(&spec.get("concurrencyPolicy"), &["Allow", "Forbid", "Replace"], &mut errors);
    job_template(&spec.get("jobTemplate").get("spec"), &mut errors);
    errors
}

/// The selector of its Jobs is always made for them.
fn job_template(job: &At<'_>, errors: &mut Errors) {
    spec::validate(job, errors);
    let (selector, manual) = (job.get("selector"), job.get("manualSelector"));
    if selector.is_set() {
        errors.push(selector.invalid("`selector` will be auto-generated"));
    }
    if manual.is_true() {
        errors.push(manual.not_supported(&["nil", "false"]));
    }
}

/// A schedule may begin with a zone, which old ones do.
fn read_schedule(text: &str) -> Result<(), String> {
    let zoned = ["TZ=", "CRON_TZ="].into_iter().find_map(|start| text.strip_prefix(start));
    let Some(zoned) = zoned else { return api::schedule::Schedule::parse(text).map(drop) };
    let (zone, rest) = zoned.split_once(' ').unwrap_or((zoned, ""));
    if api::schedule::zone(zone).is_none() {
        return Err(format!("provided bad location {zone}: unknown time zone {zone}"));
    }
    api::schedule::Schedule::parse(rest.trim()).map(drop)
}

pub(super) fn validate_new(cron: &Value) -> Errors {
    let mut errors = Errors::new();
    let name = api::meta::name(cron);
    if name.len() > LONGEST_NAME {
        let why = format!("must be no more than {LONGEST_NAME} characters");
        errors.push(FieldError::invalid("metadata.name", &name.into(), why));
    }
    zone_in_schedule(cron, false, &mut errors);
    time_zone(&At::field(cron, "spec").get("timeZone"), &mut errors);
    errors
}

pub(super) fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let (now, was) = (At::field(new, "spec"), At::field(old, "spec"));
    zone_in_schedule(new, was.get("schedule").str().contains("TZ"), &mut errors);
    let zone = now.get("timeZone");
    if zone.value != was.get("timeZone").value {
        time_zone(&zone, &mut errors);
    }
    errors
}

/// A zone in the schedule stays where it was before that was wrong.
fn zone_in_schedule(cron: &Value, had: bool, errors: &mut Errors) {
    let spec = At::field(cron, "spec");
    let schedule = spec.get("schedule");
    if !schedule.str().contains("TZ") {
        return;
    }
    if !had {
        errors.push(schedule.invalid("cannot use TZ or CRON_TZ in schedule, use timeZone field instead"));
    } else if spec.get("timeZone").is_set() {
        errors.push(schedule.invalid("cannot use both timeZone field and TZ or CRON_TZ in schedule"));
    }
}

fn time_zone(zone: &At<'_>, errors: &mut Errors) {
    let Some(name) = zone.value.as_str() else { return };
    let component = |part: &str| {
        let known = part.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_+".contains(&b));
        known && (1..=14).contains(&part.len()) && !matches!(part, "." | "..") && !part.starts_with('-')
    };
    if name.is_empty() {
        errors.push(zone.invalid("timeZone must be nil or non-empty string"));
    } else if name.split('/').all(component) && name.eq_ignore_ascii_case("local") {
        let why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.push(zone.invalid(why));
    } else if !name.split('/').all(component) || api::schedule::zone(name).is_none() {
        errors.push(zone.invalid(format!("unknown time zone {name}")));
    }
}
