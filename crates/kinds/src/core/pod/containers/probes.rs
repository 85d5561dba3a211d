//! Probes and hooks.

use crate::check::{self, At, Errors};

pub(super) fn validate(container: &At<'_>, errors: &mut Errors) {
    for field in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = container.get(field);
        if !probe.is_set() {
            continue;
        }
        handler(&probe, &["exec", "httpGet", "tcpSocket", "grpc"], errors);
        for number in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
        {
            check::not_negative(&probe.get(number), errors);
        }
        let (grace, success) = (probe.get("terminationGracePeriodSeconds"), probe.get("successThreshold"));
        if field == "readinessProbe" {
            if grace.is_set() {
                errors.push(grace.invalid("must not be set for readinessProbes"));
            }
        } else {
            if grace.int().is_some_and(|g| g <= 0) {
                errors.push(grace.invalid("must be greater than 0"));
            }
            if success.int().is_some_and(|s| s != 1) {
                errors.push(success.invalid("must be 1"));
            }
        }
    }
}

pub(super) fn lifecycle(container: &At<'_>, errors: &mut Errors) {
    for hook in ["postStart", "preStop"] {
        let hook = container.get("lifecycle").get(hook);
        if hook.is_set() {
            handler(&hook, &["exec", "httpGet", "tcpSocket", "sleep"], errors);
        }
    }
}

fn handler(at: &At<'_>, kinds: &[&str], errors: &mut Errors) {
    let mut given = kinds.iter().map(|k| (*k, at.get(k))).filter(|(_, h)| h.is_set());
    let Some((kind, first)) = given.next() else {
        errors.push(at.required("must specify a handler type"));
        return;
    };
    match kind {
        "exec" => {
            check::required(&first.get("command"), errors);
        }
        "httpGet" => http_get(&first, errors),
        "grpc" => check::port(&first.get("port"), errors),
        "sleep" => check::not_negative(&first.get("seconds"), errors),
        _ => check::port_or_name(&first.get("port"), errors),
    }
    for (_, more) in given {
        errors.push(more.forbidden("may not specify more than 1 handler type"));
    }
}

fn http_get(at: &At<'_>, errors: &mut Errors) {
    check::required(&at.get("path"), errors);
    check::port_or_name(&at.get("port"), errors);
    check::required_one_of(&at.get("scheme"), &["HTTP", "HTTPS"], errors);
    for header in at.get("httpHeaders").items() {
        let name = header.get("name");
        let plain = name.str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if name.is_empty() || !plain {
            errors.push(name.invalid("a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')"));
        }
    }
}
