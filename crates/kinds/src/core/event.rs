//! Events.

use api::field::FieldError;
use serde_json::Value;

use crate::check::Errors;

/// An event lies where its object lies; one about a cluster-wide object lies in `default` or `kube-system`.
pub(crate) fn validate(event: &Value) -> Errors {
    let (home, about) = (api::meta::namespace(event), api::meta::at(event, "/involvedObject/namespace"));
    let fits = if about.is_empty() { matches!(home, "default" | "kube-system" | "") } else { home == about };
    if fits {
        return Errors::new();
    }
    let why = "does not match event.namespace";
    vec![FieldError::invalid("involvedObject.namespace", &about.into(), why)]
}
