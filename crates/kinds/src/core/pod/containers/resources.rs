//! Requests and limits.

use api::field::FieldError;

use crate::check::{self, At, Errors, resource};

/// Complaints about `resources` of a container (or of a pod).
pub(crate) fn validate(resources: &At<'_>, errors: &mut Errors) {
    let (limits, requests) = (resources.get("limits"), resources.get("requests"));
    amounts(&limits, errors);
    amounts(&requests, errors);
    for (name, request) in requests.entries() {
        let (Some(asked), limit) = (check::amount(request.value), limits.get(name)) else { continue };
        let Some(most) = check::amount(limit.value) else { continue };
        if asked > most {
            let why = format!("must be less than or equal to {name} limit of {}", limit.spelled());
            errors.push(FieldError::invalid(&requests.path, &request.spelled().into(), why));
        } else if asked != most && !resource::overcommits(name) {
            let why = format!("must be equal to {name} limit of {}", limit.spelled());
            errors.push(FieldError::invalid(&requests.path, &request.spelled().into(), why));
        }
    }
}

fn amounts(map: &At<'_>, errors: &mut Errors) {
    for (name, at) in map.entries() {
        resource::container(name, &at, errors);
        let Some(amount) = check::quantity(&at, errors) else { continue };
        if !resource::overcommits(name) && amount.milli_value() % 1000 != 0 {
            errors.push(at.invalid("must be an integer"));
        }
    }
}
