//! CertificateSigningRequests: what is asked, and what its doors change.

mod pem;
mod signer;
mod status;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::check::{At, Errors};
use crate::{NameRule, Rules};

const SHORTEST_SECONDS: i64 = 600;
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

pub(crate) static SIGNING_REQUEST: Rules = Rules {
    names: NameRule::PathSegment,
    has_generation: false,
    fields: &[("spec.signerName", "/spec/signerName")],
    prepare_create: |request| api::meta::put(request, "status", json!({})),
    prepare_update: |new, old| {
        if let Some(spec) = old.get("spec") {
            api::meta::put(new, "spec", spec.clone());
        }
    },
    door,
    validate_new: validate,
    validate_status: status::validate,
    ..Rules::PLAIN
};

/// Whether a condition is a decision, which only the approval door takes.
fn is_decision(condition: &Value) -> bool {
    matches!(api::meta::at(condition, "/type"), "Approved" | "Denied")
}

/// `approval` changes conditions only; `status` leaves decisions as they are.
fn door(door: &str, new: &mut Value, old: &Value) {
    let said = new.get("status").cloned().unwrap_or_else(|| json!({}));
    let before = old.get("status").cloned().unwrap_or_else(|| json!({}));
    let list = |status: &Value| status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let (mut status, conditions) = match door {
        "approval" => (before, list(&said)),
        _ => {
            let decisions = list(&before).into_iter().filter(is_decision);
            let others = list(&said).into_iter().filter(|c| !is_decision(c));
            (said.clone(), decisions.chain(others).collect())
        }
    };
    let map: &mut Map<String, Value> = api::meta::map_mut(&mut status);
    if conditions.is_empty() {
        map.remove("conditions");
    } else {
        map.insert("conditions".into(), conditions.into());
    }
    api::meta::put(new, "status", status);
}

/// The spec is for ever: only a new one is looked at.
fn validate(request: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(request, "spec");
    let asked = spec.get("request");
    if let Err(why) = pem::check_request(asked.str()) {
        errors.push(asked.invalid(why));
    }
    usages(&spec.get("usages"), &mut errors);
    signer::validate(&spec.get("signerName"), &mut errors);
    let seconds = spec.get("expirationSeconds");
    if seconds.int().is_some_and(|number| number < SHORTEST_SECONDS) {
        errors.push(seconds.invalid("may not specify a duration less than 600 seconds (10 minutes)"));
    }
    errors
}

fn usages(list: &At<'_>, errors: &mut Errors) {
    if list.is_empty() {
        errors.push(list.required(""));
    }
    let mut seen = HashSet::new();
    for usage in list.items() {
        if !USAGES.contains(&usage.str()) {
            errors.push(usage.not_supported(USAGES));
        }
        if !seen.insert(usage.str()) {
            errors.push(usage.duplicate());
        }
    }
}
