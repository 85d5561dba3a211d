//! Ports of containers.

use std::collections::HashSet;

use api::field::FieldError;

use crate::check::{self, At, Errors};

pub(super) fn validate(ports: &At<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for port in ports.items() {
        let (name, number, host) = (port.get("name"), port.get("containerPort"), port.get("hostPort"));
        if !name.is_empty() {
            let wrong = check::port_name(name.str());
            if wrong.is_empty() && !seen.insert(name.str()) {
                errors.push(name.duplicate());
            }
            errors.extend(wrong.into_iter().map(|why| name.invalid(why)));
        }
        if number.int().unwrap_or(0) == 0 {
            errors.push(number.required(""));
        } else {
            check::port(&number, errors);
        }
        if host.int().unwrap_or(0) != 0 {
            check::port(&host, errors);
        }
        check::required_one_of(&port.get("protocol"), &["SCTP", "TCP", "UDP"], errors);
    }
}

/// A port of the host is taken once a pod.
pub(super) fn conflicts(containers: &At<'_>, errors: &mut Errors) {
    let mut taken = HashSet::new();
    for port in containers.items().flat_map(|c| c.get("ports").items()) {
        let host = port.get("hostPort");
        let Some(number) = host.int().filter(|n| *n != 0) else { continue };
        let key = format!("{}/{}/{number}", port.get("protocol").str(), port.get("hostIP").str());
        if !taken.insert(key.clone()) {
            errors.push(FieldError::duplicate(&host.path, &key.into()));
        }
    }
}

/// On the host's network a container's port is the host's.
pub(super) fn on_host_network(containers: &At<'_>, errors: &mut Errors) {
    for port in containers.items().flat_map(|c| c.get("ports").items()) {
        let number = port.get("containerPort");
        if port.get("hostPort").int().unwrap_or(0) != number.int().unwrap_or(0) {
            errors.push(number.invalid("must match `hostPort` when `hostNetwork` is true"));
        }
    }
}
