//! Names of signers: `example.com/signer`.

use api::field::FieldError;
use api::names;

use crate::check::{self, At, Errors};

const LEGACY: &str = "kubernetes.io/legacy-unknown";
const LONGEST_DOMAIN: usize = 253;
/// A name of a namespace and one of a resource, with a dot between.
const LONGEST_PATH: usize = 253 + 63 + 1;

pub(super) fn validate(at: &At<'_>, errors: &mut Errors) {
    if at.str() == LEGACY {
        errors.push(at.invalid("the legacy signerName is not allowed via this API version"));
        return;
    }
    if !check::required(at, errors) {
        return;
    }
    let Some((domain, path)) = at.str().split_once('/').filter(|(_, path)| !path.contains('/')) else {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.push(at.invalid(why));
        return;
    };
    if domain.len() > LONGEST_DOMAIN {
        errors.push(FieldError::too_long(&at.path, LONGEST_DOMAIN));
    }
    labels(at, domain, names::dns_label, errors);
    if !domain.contains('.') {
        let why = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(&at.path, &domain.into(), why));
    }
    labels(at, path, names::dns_subdomain, errors);
    if at.str().len() > LONGEST_DOMAIN + LONGEST_PATH + 1 {
        errors.push(FieldError::too_long(&at.path, LONGEST_DOMAIN + LONGEST_PATH + 1));
    }
}

/// A complaint about the first part between dots that is none.
fn labels(at: &At<'_>, text: &str, rule: fn(&str) -> Result<(), String>, errors: &mut Errors) {
    let wrong = text.split('.').find_map(|label| rule(label).err().map(|why| (label, why)));
    if let Some((label, why)) = wrong {
        let why = format!("validating label \"{label}\": {why}");
        errors.push(FieldError::invalid(&at.path, &text.into(), why));
    }
}
