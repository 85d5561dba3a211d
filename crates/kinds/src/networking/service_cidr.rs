//! Ranges of addresses of Services.

use serde_json::Value;

use crate::Rules;
use crate::check::{self, At, Errors};

pub(super) static SERVICE_CIDR: Rules =
    Rules { validate: service_cidr, validate_update: service_cidr_update, ..Rules::PLAIN };

fn service_cidr(range: &Value) -> Errors {
    let mut errors = Errors::new();
    let cidrs = At::field(range, "spec").get("cidrs");
    if cidrs.is_empty() {
        errors.push(cidrs.required("at least one CIDR required"));
    }
    let networks: Vec<Option<ipnet::IpNet>> = cidrs.items().map(|cidr| check::cidr(&cidr, &mut errors)).collect();
    match networks.as_slice() {
        [Some(one), Some(other)] if one.addr().is_ipv4() == other.addr().is_ipv4() => {
            let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
            errors.push(cidrs.invalid(why));
        }
        [] | [_] | [_, _] => {}
        _ => errors.push(cidrs.invalid("may only hold up to 2 values")),
    }
    errors
}

/// A range stays what it is; one of one family may get a second.
fn service_cidr_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let (now, was) = (At::field(new, "spec").get("cidrs"), At::field(old, "spec").get("cidrs"));
    let (grown, before): (Vec<_>, Vec<_>) = (now.items().collect(), was.items().collect());
    match (grown.as_slice(), before.as_slice()) {
        ([first, _], [only]) => check::immutable(first, only, check::IMMUTABLE, &mut errors),
        _ => check::immutable(&now, &was, check::IMMUTABLE, &mut errors),
    }
    errors
}
