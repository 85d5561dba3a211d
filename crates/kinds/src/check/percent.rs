//! Numbers that may be percentages.

use serde_json::Value;

use super::{At, Errors};

/// A number or a percentage that is not negative; its number.
pub(crate) fn int_or_percent(at: &At<'_>, errors: &mut Errors) -> Option<i64> {
    match at.value {
        Value::String(text) => {
            let number = text.strip_suffix('%').filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
            let number = number.and_then(|t| t.parse().ok());
            if number.is_none() {
                errors.push(at.invalid(PERCENT));
            }
            number
        }
        _ => {
            super::not_negative(at, errors);
            Some(at.int().unwrap_or(0))
        }
    }
}

const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";

/// A percentage of at most all.
pub(crate) fn not_over_all(at: &At<'_>, errors: &mut Errors) {
    let percent = at.str().strip_suffix('%').and_then(|t| t.parse::<i64>().ok());
    if percent.is_some_and(|p| p > 100) {
        errors.push(at.invalid("must not be greater than 100%"));
    }
}
