//! Leases.

use serde_json::Value;

use crate::Rules;
use crate::check::{self, At, Errors};

pub(crate) static LEASE: Rules =
    Rules { create_on_update: true, has_generation: false, validate: lease, ..Rules::PLAIN };

fn lease(lease: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(lease, "spec");
    let seconds = spec.get("leaseDurationSeconds");
    if seconds.int().is_some_and(|s| s <= 0) {
        errors.push(seconds.invalid("must be greater than 0"));
    }
    check::not_negative(&spec.get("leaseTransitions"), &mut errors);
    errors
}
