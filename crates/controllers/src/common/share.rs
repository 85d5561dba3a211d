//! Numbers that may be percentages. Pure.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// So many, or so many of a hundred of the total, rounded up.
pub(crate) fn rounded_up(amount: &IntOrString, total: usize) -> usize {
    match amount {
        IntOrString::Int(number) => usize::try_from(*number).unwrap_or(0),
        IntOrString::String(text) => {
            let percent: usize = text.strip_suffix('%').and_then(|digits| digits.parse().ok()).unwrap_or(0);
            (total * percent).div_ceil(100)
        }
    }
}
