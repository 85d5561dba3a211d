//! Conditions and the certificate: what has been said stays said.

use std::collections::HashSet;

use api::field::FieldError;
use serde_json::Value;

use super::pem;
use crate::check::{At, Errors};

/// Verdicts: they hold or are not there.
const VERDICTS: [&str; 3] = ["Approved", "Denied", "Failed"];

/// Complaints about a change through a door. What was wrong before is let pass.
pub(super) fn validate(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let (now, was) = (At::field(new, "status"), At::field(old, "status"));
    let (list, before) = (now.get("conditions"), was.get("conditions"));
    conditions(&list, &before, &mut errors);
    for verdict in VERDICTS {
        if number(&list, verdict) < number(&before, verdict) {
            errors.push(list.forbidden(format!("updates may not remove a condition of type \"{verdict}\"")));
        }
    }
    let (certificate, given) = (now.get("certificate"), was.get("certificate"));
    if certificate.str() == given.str() {
        return errors;
    }
    if let Err(why) = pem::check_certificate(certificate.str())
        && pem::check_certificate(given.str()).is_ok()
    {
        errors.push(FieldError::invalid(&certificate.path, &"<certificate data>".into(), why));
    }
    if !given.is_empty() {
        errors.push(certificate.forbidden("updates may not modify existing certificate content"));
    }
    errors
}

fn number(list: &At<'_>, kind: &str) -> usize {
    list.items().filter(|condition| condition.get("type").str() == kind).count()
}

fn conditions(list: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    let types =
        |list: &At<'_>| list.items().map(|condition| condition.get("type").str().to_owned()).collect::<Vec<_>>();
    let old = types(before);
    let twice = old.iter().collect::<HashSet<_>>().len() < old.len();
    let has = |kind: &str| number(before, kind) > 0;
    let (nameless, undecided) = (has(""), has("Approved") && has("Denied"));
    let mut seen = HashSet::new();
    for condition in list.items() {
        let (kind, status) = (condition.get("type"), condition.get("status"));
        if kind.is_empty() && !nameless {
            errors.push(kind.required(""));
        }
        let allowed: &[&str] = if VERDICTS.contains(&kind.str()) { &["True"] } else { &["False", "True", "Unknown"] };
        if status.is_empty() {
            errors.push(status.required(""));
        } else if !allowed.contains(&status.str()) {
            errors.push(status.not_supported(allowed));
        }
        let opposite = match kind.str() {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "",
        };
        if !opposite.is_empty() && seen.contains(opposite) && !undecided {
            let why = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid(&list.path, kind.value, why));
        }
        if !seen.insert(kind.str()) && !twice {
            errors.push(kind.duplicate());
        }
    }
}
