//! The status of a Job, which controllers of others may write: what contradicts itself is refused, but only if the
//! change brings it about.

use std::collections::HashSet;

use api::field::FieldError;
use serde_json::Value;

use super::{indexes, spec};
use crate::check::{self, At, Errors, IMMUTABLE};

/// A Job before and after.
struct Change<'a> {
    spec: At<'a>,
    now: At<'a>,
    was: At<'a>,
}

impl Change<'_> {
    /// Whether a condition holds now.
    fn is(&self, kind: &str) -> bool {
        holds(&self.now, kind)
    }

    fn is_over(&self) -> bool {
        self.is("Complete") || self.is("Failed")
    }

    /// Whether any of these conditions turned.
    fn turned(&self, kinds: &[&str]) -> bool {
        kinds.iter().any(|kind| self.is(kind) != holds(&self.was, kind))
    }

    /// Whether the Job ended or came back to life.
    fn ended(&self) -> bool {
        self.is_over() != (holds(&self.was, "Complete") || holds(&self.was, "Failed"))
    }

    fn changed(&self, field: &str) -> bool {
        self.now.get(field).value != self.was.get(field).value
    }

    fn number(&self, field: &str) -> i64 {
        self.now.get(field).int().unwrap_or(0)
    }

    /// A complaint if a counter runs backwards.
    fn grows(&self, field: &str, errors: &mut Errors) {
        let number = self.number(field);
        if number < self.was.get(field).int().unwrap_or(0) {
            let why = format!("cannot decrease the {field} counter");
            errors.push(FieldError::invalid(self.now.get(field).path, &number.into(), why));
        }
    }
}

fn holds(status: &At<'_>, kind: &str) -> bool {
    status.get("conditions").items().any(|c| c.get("type").str() == kind && c.get("status").str() == "True")
}

pub(super) fn validate(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let change = Change { spec: At::field(new, "spec"), now: At::field(new, "status"), was: At::field(old, "status") };
    for field in ["active", "succeeded", "failed", "ready", "terminating"] {
        check::not_negative(&change.now.get(field), &mut errors);
    }
    uncounted(&change.now.get("uncountedTerminatedPods"), &mut errors);
    conditions(&change, &mut errors);
    times(&change, &mut errors);
    numbers(&change, &mut errors);
    completed_indexes(&change, &mut errors);
    failed_indexes(&change, &mut errors);
    errors
}

fn uncounted(at: &At<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for uid in ["succeeded", "failed"].iter().flat_map(|list| at.get(list).items()) {
        if uid.is_empty() {
            errors.push(uid.invalid("must not be empty"));
        } else if !seen.insert(uid.str()) {
            errors.push(uid.duplicate());
        }
    }
}

fn conditions(change: &Change<'_>, errors: &mut Errors) {
    let (complete, failed) = (change.is("Complete"), change.is("Failed"));
    let (target, met) = (change.is("FailureTarget"), change.is("SuccessCriteriaMet"));
    let had = |kind: &str| holds(&change.was, kind);
    let undone = ["Failed", "Complete", "FailureTarget"].map(|kind| (kind, had(kind) && !change.is(kind)));
    for (wrong, why) in [
        (
            change.turned(&["Complete", "Failed"]) && complete && failed,
            "cannot set Complete=True and Failed=true conditions",
        ),
        (
            change.turned(&["Complete", "FailureTarget"]) && complete && target,
            "cannot set Complete=True and FailureTarget=true conditions",
        ),
        (
            change.turned(&["Failed", "FailureTarget"]) && failed && !target,
            "cannot set Failed=True condition without the FailureTarget=true condition",
        ),
        (
            change.turned(&["Complete", "SuccessCriteriaMet"]) && complete && !met,
            "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
        ),
        (met && failed, "cannot set SuccessCriteriaMet=True and Failed=true conditions"),
        (met && target, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"),
        (
            change.spec.get("successPolicy").is_set() && complete && !met,
            "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True",
        ),
        (had("SuccessCriteriaMet") && !met, "cannot disable the SuccessCriteriaMet=True condition"),
        (
            had("Complete") && !had("SuccessCriteriaMet") && met,
            "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions",
        ),
    ] {
        if wrong {
            errors.push(change.now.get("conditions").invalid_as_a_whole(why));
        }
    }
    for (kind, _) in undone.into_iter().filter(|(_, undone)| *undone) {
        let why = format!("cannot disable the terminal {kind}=True condition");
        errors.push(change.now.get("conditions").invalid_as_a_whole(why));
    }
}

fn times(change: &Change<'_>, errors: &mut Errors) {
    let (start, end, complete) = (change.now.get("startTime"), change.now.get("completionTime"), change.is("Complete"));
    let moved = change.changed("completionTime");
    if change.turned(&["Complete"]) || moved {
        if end.is_set() && !complete {
            errors.push(end.invalid("cannot set completionTime when there is no Complete=True condition"));
        } else if !end.is_set() && complete {
            errors.push(end.required("completionTime is required for Complete jobs"));
        }
    }
    let moment = |at: &At<'_>| at.str().parse::<jiff::Timestamp>().ok();
    if (change.changed("startTime") || moved)
        && let (Some(start), Some(ended)) = (moment(&start), moment(&end))
        && ended < start
    {
        errors.push(end.invalid("must be equal to or after `startTime`"));
    }
    if (change.ended() || change.changed("startTime")) && change.is_over() && !start.is_set() {
        errors.push(start.required("startTime is required for finished job"));
    }
    if end.is_set() && change.was.get("completionTime").is_set() && moved {
        errors.push(end.invalid(IMMUTABLE));
    }
    let suspended = change.spec.get("suspend").is_true();
    if change.was.get("startTime").is_set() && change.changed("startTime") && !suspended {
        errors.push(start.required("startTime cannot be removed for unsuspended job"));
    }
}

fn numbers(change: &Change<'_>, errors: &mut Errors) {
    let field = |field: &str| change.now.get(field);
    let (ended, over) = (change.ended(), change.is_over());
    if (ended || change.changed("active")) && over && change.number("active") > 0 {
        errors.push(field("active").invalid("active>0 is invalid for finished job"));
    }
    let uncounted = field("uncountedTerminatedPods");
    let waiting = !uncounted.get("failed").is_empty() || !uncounted.get("succeeded").is_empty();
    if (ended || change.changed("uncountedTerminatedPods")) && over && waiting {
        errors.push(uncounted.invalid("must be empty for finished job"));
    }
    if (ended || change.changed("terminating")) && over && change.number("terminating") > 0 {
        errors.push(field("terminating").invalid("terminating>0 is invalid for finished job"));
    }
    if (change.changed("ready") || change.changed("active")) && change.number("ready") > change.number("active") {
        errors.push(field("ready").invalid("cannot set more ready pods than active"));
    }
    change.grows("failed", errors);
    // An indexed Job that shrinks forgets indexes.
    let elastic =
        spec::is_indexed(&change.spec) && change.spec.get("completions").value == change.spec.get("parallelism").value;
    if !elastic {
        change.grows("succeeded", errors);
    }
}

fn completed_indexes(change: &Change<'_>, errors: &mut Errors) {
    let at = change.now.get("completedIndexes");
    if !change.changed("completedIndexes") {
        return;
    }
    if let Some(all) = change.spec.get("completions").int()
        && let Err(why) = indexes::count(at.str(), all)
    {
        errors.push(at.invalid(format!("error parsing completedIndexes: {why}")));
    }
    if !at.is_empty() && !spec::is_indexed(&change.spec) {
        errors.push(at.invalid("cannot set non-empty completedIndexes when non-indexed completion mode"));
    }
}

fn failed_indexes(change: &Change<'_>, errors: &mut Errors) {
    let (at, done) = (change.now.get("failedIndexes"), change.now.get("completedIndexes"));
    let (completions, limited) =
        (change.spec.get("completions").int(), change.spec.get("backoffLimitPerIndex").is_set());
    if !at.is_set() {
        return;
    }
    if change.changed("failedIndexes") {
        if let Some(all) = completions.filter(|_| limited)
            && let Err(why) = indexes::count(at.str(), all)
        {
            errors.push(at.invalid(format!("error parsing failedIndexes: {why}")));
        }
        if !limited {
            errors.push(at.invalid("cannot set non-null failedIndexes when backoffLimitPerIndex is null"));
        }
    }
    if (change.changed("failedIndexes") || change.changed("completedIndexes"))
        && let Some(index) = completions.and_then(|all| indexes::overlap(done.str(), at.str(), all))
    {
        errors.push(at.invalid(format!("failedIndexes and completedIndexes overlap at index: {index}")));
    }
}
