//! Requests and limits.

use api::field::FieldError;
use api::names;

use crate::check::{self, At, Errors};

/// Complaints about `resources` of a container (or of a pod).
pub(crate) fn validate(resources: &At<'_>, errors: &mut Errors) {
    let (limits, requests) = (resources.get("limits"), resources.get("requests"));
    amounts(&limits, errors);
    amounts(&requests, errors);
    for (name, request) in requests.entries() {
        let (Some(asked), limit) = (check::amount(request.value), limits.get(name)) else { continue };
        let Some(most) = check::amount(limit.value) else { continue };
        if asked > most {
            let why = format!("must be less than or equal to {name} limit of {}", spelled(&limit));
            errors.push(FieldError::invalid(&requests.path, &spelled(&request).into(), why));
        } else if asked != most && !overcommits(name) {
            let why = format!("must be equal to {name} limit of {}", spelled(&limit));
            errors.push(FieldError::invalid(&requests.path, &spelled(&request).into(), why));
        }
    }
}

fn spelled(at: &At<'_>) -> String {
    at.value.as_str().map_or_else(|| at.value.to_string(), str::to_owned)
}

/// Extended resources and huge pages are given whole or not at all.
fn overcommits(name: &str) -> bool {
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    native && !name.starts_with("hugepages-")
}

fn amounts(map: &At<'_>, errors: &mut Errors) {
    for (name, at) in map.entries() {
        let place = FieldError::invalid;
        if let Err(why) = names::qualified_name(name) {
            errors.push(place(at.path.clone(), &name.into(), why));
        } else if !name.contains('/') && !standard(name) {
            for why in
                ["must be a standard resource type or fully qualified", "must be a standard resource for containers"]
            {
                errors.push(place(at.path.clone(), &name.into(), why.to_owned()));
            }
        }
        let Some(amount) = check::quantity(&at, errors) else { continue };
        if !overcommits(name) && amount.milli_value() % 1000 != 0 {
            errors.push(at.invalid("must be an integer"));
        }
    }
}

fn standard(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
}
