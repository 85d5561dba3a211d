//! Endpoints.

use serde_json::Value;

use crate::check::{self, At, Errors};

pub(crate) fn validate(endpoints: &Value) -> Errors {
    let mut errors = Errors::new();
    for subset in At::field(endpoints, "subsets").items() {
        let (ready, waiting) = (subset.get("addresses"), subset.get("notReadyAddresses"));
        if ready.is_empty() && waiting.is_empty() {
            errors.push(subset.required("must specify `addresses` or `notReadyAddresses`"));
        }
        for address in ready.items().chain(waiting.items()) {
            address_of(&address, &mut errors);
        }
        let several = subset.get("ports").items().count() > 1;
        for port in subset.get("ports").items() {
            let name = port.get("name");
            if several && name.is_empty() {
                errors.push(name.required(""));
            }
            check::optional_named(&name, api::names::dns_label, &mut errors);
            check::port(&port.get("port"), &mut errors);
            check::required_one_of(&port.get("protocol"), &["SCTP", "TCP", "UDP"], &mut errors);
        }
    }
    errors
}

fn address_of(address: &At<'_>, errors: &mut Errors) {
    let ip = address.get("ip");
    check::ip(&ip, errors);
    not_special(&ip, errors);
    check::optional_named(&address.get("hostname"), api::names::dns_label, errors);
    check::optional_named(&address.get("nodeName"), api::names::dns_subdomain, errors);
}

/// An endpoint cannot be this host, or nobody.
pub(crate) fn not_special(at: &At<'_>, errors: &mut Errors) {
    let Ok(ip) = at.str().parse::<std::net::IpAddr>() else { return };
    let local = match ip {
        std::net::IpAddr::V4(ip) => ip.is_link_local(),
        std::net::IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if ip.is_unspecified() {
        errors.push(at.invalid(format!("may not be unspecified ({ip})")));
    } else if ip.is_loopback() {
        errors.push(at.invalid("may not be in the loopback range (127.0.0.0/8, ::1/128)"));
    } else if local {
        errors.push(at.invalid("may not be in the link-local range (169.254.0.0/16, fe80::/10)"));
    }
}
