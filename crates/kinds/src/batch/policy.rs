//! What a Job makes of pods that ended: policies of failure, success and replacement.

use std::collections::HashSet;

use api::field::FieldError;

use super::{indexes, spec};
use crate::check::{self, At, Errors};

const MOST_RULES: usize = 20;
const MOST_EXIT_CODES: usize = 255;
const MOST_PATTERNS: usize = 20;
const LONGEST_INDEXES: usize = 64 << 10;
const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];

pub(super) fn failure(spec: &At<'_>, errors: &mut Errors) {
    let rules = spec.get("podFailurePolicy").get("rules");
    rules.at_most(MOST_RULES, errors);
    let pod = spec.get("template").get("spec");
    let containers = ["containers", "initContainers"].map(|list| pod.get(list));
    let names: HashSet<&str> =
        containers.iter().flat_map(At::items).map(|container| container.get("name").str()).collect();
    for rule in rules.items() {
        failure_rule(spec, &rule, &names, errors);
    }
}

fn failure_rule(spec: &At<'_>, rule: &At<'_>, names: &HashSet<&str>, errors: &mut Errors) {
    let (action, codes, conditions) = (rule.get("action"), rule.get("onExitCodes"), rule.get("onPodConditions"));
    said(&action, ACTIONS, errors);
    if action.str() == "FailIndex" && !spec.get("backoffLimitPerIndex").is_set() {
        errors.push(action.invalid("requires the backoffLimitPerIndex to be set"));
    }
    if codes.is_set() {
        exit_codes(&codes, names, errors);
    }
    conditions.at_most(MOST_PATTERNS, errors);
    for pattern in conditions.items() {
        check::named(&pattern.get("type"), api::names::qualified_name, errors);
        said(&pattern.get("status"), &["False", "True", "Unknown"], errors);
    }
    match (codes.is_set(), !conditions.is_empty()) {
        (true, true) => {
            let why = "specifying both OnExitCodes and OnPodConditions is not supported";
            errors.push(rule.invalid_as_a_whole(why));
        }
        (false, false) => {
            let why = "specifying one of OnExitCodes and OnPodConditions is required";
            errors.push(rule.invalid_as_a_whole(why));
        }
        _ => {}
    }
}

/// One of a few texts; if it is missing, the complaint lists them.
fn said(at: &At<'_>, supported: &[&str], errors: &mut Errors) {
    if at.is_empty() {
        let list: Vec<String> = supported.iter().map(|text| format!("\"{text}\"")).collect();
        errors.push(at.required(&format!("valid values: [{}]", list.join(" "))));
    }
    check::one_of(at, supported, errors);
}

fn exit_codes(at: &At<'_>, names: &HashSet<&str>, errors: &mut Errors) {
    let (operator, container, values) = (at.get("operator"), at.get("containerName"), at.get("values"));
    said(&operator, &["In", "NotIn"], errors);
    if container.is_set() && !names.contains(container.str()) {
        errors.push(container.invalid("must be one of the container or initContainer names in the pod template"));
    }
    if values.is_empty() {
        errors.push(values.invalid("at least one value is required"));
    }
    values.at_most(MOST_EXIT_CODES, errors);
    let (mut seen, mut before, mut ordered) = (HashSet::new(), None, true);
    for value in values.items() {
        let code = value.int();
        if operator.str() == "In" && code == Some(0) {
            errors.push(value.invalid("must not be 0 for the In operator"));
        }
        if !seen.insert(code) {
            errors.push(value.duplicate());
        }
        ordered &= before.is_none_or(|before| before <= code);
        before = Some(code);
    }
    if !ordered {
        errors.push(values.invalid("must be ordered"));
    }
}

pub(super) fn success(job: &At<'_>, errors: &mut Errors) {
    let policy = job.get("successPolicy");
    if !policy.is_set() {
        return;
    }
    if !spec::is_indexed(job) {
        errors.push(policy.invalid("requires indexed completion mode"));
        return;
    }
    let rules = policy.get("rules");
    if rules.is_empty() {
        errors.push(rules.required("at least one rules must be specified when the successPolicy is specified"));
    }
    rules.at_most(MOST_RULES, errors);
    let completions = job.get("completions").int().unwrap_or(0);
    rules.items().for_each(|rule| success_rule(&rule, completions, errors));
}

fn success_rule(rule: &At<'_>, completions: i64, errors: &mut Errors) {
    let (count, indexes) = (rule.get("succeededCount"), rule.get("succeededIndexes"));
    if !count.is_set() && !indexes.is_set() {
        errors.push(rule.required("at least one of succeededCount or succeededIndexes must be specified"));
    }
    let mut total = 0;
    if indexes.is_set() {
        if indexes.str().len() > LONGEST_INDEXES {
            errors.push(FieldError::too_long(&indexes.path, LONGEST_INDEXES));
        }
        match indexes::count(indexes.str(), completions) {
            Ok(number) => total = number,
            Err(why) => errors.push(indexes.invalid(format!("error parsing succeededIndexes: {why}"))),
        }
    }
    let Some(number) = count.int() else { return };
    check::not_negative(&count, errors);
    if number > completions {
        let why = format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.push(count.invalid(why));
    }
    if indexes.is_set() && number > total {
        errors.push(count.invalid(format!(
            "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
        )));
    }
}

pub(super) fn replacement(spec: &At<'_>, errors: &mut Errors) {
    let judged = spec.get("podFailurePolicy").is_set();
    let supported: &[&str] = if judged { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    check::one_of(&spec.get("podReplacementPolicy"), supported, errors);
}
