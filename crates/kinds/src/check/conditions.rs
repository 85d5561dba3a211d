//! Conditions in the common shape of `metav1.Condition`.

use std::collections::HashSet;

use api::field::FieldError;
use api::names;

use super::{At, Errors};

const LONGEST_REASON: usize = 1024;
const LONGEST_MESSAGE: usize = 32 << 10;
const REASON: &str = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";

pub(crate) fn validate(list: &At<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for condition in list.items() {
        let kind = condition.get("type");
        if !seen.insert(kind.str()) {
            errors.push(kind.duplicate());
        }
        super::named(&kind, names::qualified_name, errors);
        one(&condition, errors);
    }
}

fn one(condition: &At<'_>, errors: &mut Errors) {
    let status = condition.get("status");
    if !matches!(status.str(), "True" | "False" | "Unknown") {
        errors.push(FieldError::not_supported(&status.path, &status.str().into(), &["False", "True", "Unknown"]));
    }
    let generation = condition.get("observedGeneration");
    if generation.int().is_some_and(|number| number < 0) {
        errors.push(generation.invalid("must be greater than or equal to zero"));
    }
    let (time, reason) = (condition.get("lastTransitionTime"), condition.get("reason"));
    if time.is_empty() {
        errors.push(time.required("must be set"));
    }
    if reason.is_empty() {
        errors.push(reason.required("must be set"));
    } else if !is_reason(reason.str()) {
        errors.push(reason.invalid(REASON));
    }
    for (at, longest) in [(&reason, LONGEST_REASON), (&condition.get("message"), LONGEST_MESSAGE)] {
        if at.str().len() > longest {
            errors.push(FieldError::too_long(&at.path, longest));
        }
    }
}

fn is_reason(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"_,:".contains(b))
        && bytes.last().is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
}
