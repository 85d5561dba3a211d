//! Ingresses.

use std::net::IpAddr;

use api::field::FieldError;
use api::names;
use serde_json::{Value, json};

use super::ingress_class::reference;
use crate::Rules;
use crate::check::{self, At, Errors};

/// The annotation that came before `spec.ingressClassName`.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

pub(super) static INGRESS: Rules = Rules {
    prepare_create: |ingress| api::meta::put(ingress, "status", json!({"loadBalancer": {}})),
    validate,
    validate_new: |ingress| {
        let class = At::field(ingress, "spec").get("ingressClassName");
        let said = api::meta::annotation(ingress, CLASS_ANNOTATION);
        let other = said.filter(|said| class.is_set() && *said != class.str());
        let why = "must match `ingressClassName` when both are specified";
        let path = format!("annotations.{CLASS_ANNOTATION}");
        other.map(|said| FieldError::invalid(path, &said.into(), why)).into_iter().collect()
    },
    validate_status,
    ..Rules::PLAIN
};

fn validate(ingress: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(ingress, "spec");
    let default = spec.get("defaultBackend");
    if spec.get("rules").is_empty() && !default.is_set() {
        let why = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid("spec", spec.get("rules").value, why));
    }
    if default.is_set() {
        backend(&default, &mut errors);
    }
    spec.get("rules").items().for_each(|at| rule(&at, &mut errors));
    for tls in spec.get("tls").items() {
        tls.get("hosts").items().for_each(|at| host(&at, &mut errors));
        check::optional_named(&tls.get("secretName"), names::dns_subdomain, &mut errors);
    }
    let class = spec.get("ingressClassName");
    if class.is_set() {
        check::named(&class, names::dns_subdomain, &mut errors);
    }
    errors
}

/// A name, or all names of a domain.
fn host(at: &At<'_>, errors: &mut Errors) {
    if at.str().contains('*') {
        check::named(at, wildcard, errors);
    } else {
        check::named(at, names::dns_subdomain, errors);
    }
}

fn wildcard(name: &str) -> Result<(), String> {
    if name.len() > 253 {
        return Err("must be no more than 253 characters".into());
    }
    if name.strip_prefix("*.").is_some_and(|domain| names::dns_subdomain(domain).is_ok()) {
        return Ok(());
    }
    Err("a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')".into())
}

fn no_address(at: &At<'_>, errors: &mut Errors) {
    if at.str().parse::<IpAddr>().is_ok() {
        errors.push(at.invalid("must be a DNS name, not an IP address"));
    }
}

fn rule(rule: &At<'_>, errors: &mut Errors) {
    let name = rule.get("host");
    if !name.is_empty() {
        no_address(&name, errors);
        host(&name, errors);
    }
    let http = rule.get("http");
    if !http.is_set() {
        return;
    }
    let paths = http.get("paths");
    check::required(&paths, errors);
    paths.items().for_each(|at| path(&at, errors));
}

fn path(path: &At<'_>, errors: &mut Errors) {
    let (kind, at) = (path.get("pathType"), path.get("path"));
    let text = at.str();
    let mut wrong = |why: String| errors.push(FieldError::invalid(&at.path, &text.into(), why));
    let relative = !text.starts_with('/');
    match kind.value.as_str() {
        None => {
            errors.push(kind.required("pathType must be specified"));
            return;
        }
        Some("Exact" | "Prefix") => {
            if relative {
                wrong("must be an absolute path".into());
            }
            for part in ["//", "/./", "/../", "%2f", "%2F"].into_iter().filter(|part| text.contains(part)) {
                wrong(format!("must not contain '{part}'"));
            }
            for end in ["/..", "/."].into_iter().filter(|end| text.ends_with(end)) {
                wrong(format!("cannot end with '{end}'"));
            }
        }
        Some("ImplementationSpecific") => {
            if relative && !text.is_empty() {
                wrong("must be an absolute path".into());
            }
        }
        Some(_) => errors.push(kind.not_supported(&["Exact", "ImplementationSpecific", "Prefix"])),
    }
    backend(&path.get("backend"), errors);
}

fn backend(at: &At<'_>, errors: &mut Errors) {
    let (resource, service) = (at.get("resource"), at.get("service"));
    let wrong = |why: &str| FieldError::invalid(&at.path, &"".into(), why);
    match (resource.is_set(), service.is_set()) {
        (true, true) => errors.push(wrong("cannot set both resource and service backends")),
        (true, false) => reference(&resource, errors),
        (false, false) => errors.push(wrong("resource or service backend is required")),
        (false, true) => {
            check::required_named(&service.get("name"), names::dns_1035_label, errors);
            let port = service.get("port");
            let (name, number) = (port.get("name"), port.get("number"));
            match (name.is_empty(), number.int().unwrap_or(0) == 0) {
                (false, false) => errors.push(wrong("cannot set both port name & port number")),
                (false, true) => check::port_or_name(&name, errors),
                (true, false) => check::port(&number, errors),
                (true, true) => errors.push(at.required("port name or number is required")),
            }
        }
    }
}

fn validate_status(new: &Value, _: &Value) -> Errors {
    let mut errors = Errors::new();
    for address in At::field(new, "status").get("loadBalancer").get("ingress").items() {
        let (ip, name) = (address.get("ip"), address.get("hostname"));
        if !ip.is_empty() {
            check::ip(&ip, &mut errors);
        }
        if !name.is_empty() {
            check::named(&name, names::dns_subdomain, &mut errors);
            no_address(&name, &mut errors);
        }
    }
    errors
}
