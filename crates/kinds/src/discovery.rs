//! EndpointSlices.

use std::collections::HashSet;

use api::field::FieldError;
use api::names;
use serde_json::Value;

use crate::Rules;
use crate::check::{self, At, Errors};

pub(crate) static ENDPOINT_SLICE: Rules = Rules {
    create_on_update: true,
    validate,
    validate_update: |new, old| {
        let mut errors = Errors::new();
        let (now, was) = (At::field(new, "addressType"), At::field(old, "addressType"));
        check::immutable(&now, &was, check::IMMUTABLE, &mut errors);
        errors
    },
    ..Rules::PLAIN
};

const KINDS: &[&str] = &["FQDN", "IPv4", "IPv6"];

fn validate(slice: &Value) -> Errors {
    let mut errors = Errors::new();
    let kind = At::field(slice, "addressType");
    check::required_one_of(&kind, KINDS, &mut errors);
    let (endpoints, ports) = (At::field(slice, "endpoints"), At::field(slice, "ports"));
    let count = endpoints.items().count();
    if count > 1000 {
        errors.push(FieldError::too_many("endpoints", count, 1000));
    }
    for endpoint in endpoints.items() {
        addresses(&endpoint, kind.str(), &mut errors);
    }
    let count = ports.items().count();
    if count > 20_000 {
        errors.push(FieldError::too_many("ports", count, 20_000));
    }
    let mut seen = HashSet::new();
    for port in ports.items() {
        let name = port.get("name");
        check::optional_named(&name, names::dns_label, &mut errors);
        if !seen.insert(name.str()) {
            errors.push(FieldError::duplicate(&name.path, &name.str().into()));
        }
        check::required_one_of(&port.get("protocol"), &["SCTP", "TCP", "UDP"], &mut errors);
        if port.get("port").is_set() {
            check::port(&port.get("port"), &mut errors);
        }
    }
    errors
}

fn addresses(endpoint: &At<'_>, kind: &str, errors: &mut Errors) {
    let list = endpoint.get("addresses");
    let count = list.items().count();
    if count == 0 {
        errors.push(list.required("must contain at least 1 address"));
    } else if count > 100 {
        errors.push(FieldError::too_many(&list.path, count, 100));
    }
    for address in list.items() {
        let parsed = address.str().parse::<std::net::IpAddr>().ok();
        match (kind, parsed) {
            ("FQDN", _) => check::named(&address, names::dns_subdomain, errors),
            ("IPv4", Some(ip)) if !ip.is_ipv4() => errors.push(address.invalid("must be an IPv4 address")),
            ("IPv6", Some(ip)) if !ip.is_ipv6() => errors.push(address.invalid("must be an IPv6 address")),
            _ => {
                check::ip(&address, errors);
                crate::core::not_special(&address, errors);
            }
        }
    }
    check::optional_named(&endpoint.get("nodeName"), names::dns_subdomain, errors);
    check::optional_named(&endpoint.get("hostname"), names::dns_label, errors);
}
