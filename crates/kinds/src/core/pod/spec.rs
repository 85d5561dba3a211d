//! Validation of a pod's spec, in a pod or in a template.

use api::field::FieldError;
use api::names;

use super::{containers, scheduling, security, volumes};
use crate::check::{self, At, Errors};

const DNS_POLICIES: &[&str] = &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];

/// Complaints about a spec.
pub(crate) fn validate(spec: &At<'_>, errors: &mut Errors) {
    let names = volumes::validate(&spec.get("volumes"), errors);
    containers::validate(spec, &names, errors);
    check::required_one_of(&spec.get("restartPolicy"), &["Always", "Never", "OnFailure"], errors);
    check::required_one_of(&spec.get("dnsPolicy"), DNS_POLICIES, errors);
    dns_config(spec, errors);
    check::labels(&spec.get("nodeSelector"), errors);
    security::pod(spec, errors);
    for secret in spec.get("imagePullSecrets").items() {
        check::required(&secret.get("name"), errors);
    }
    scheduling::validate(spec, errors);
    check::optional_named(&spec.get("serviceAccountName"), names::dns_subdomain, errors);
    check::optional_named(&spec.get("nodeName"), names::dns_subdomain, errors);
    check::between(&spec.get("activeDeadlineSeconds"), 1, i64::from(i32::MAX), errors);
    check::optional_named(&spec.get("hostname"), names::dns_label, errors);
    check::optional_named(&spec.get("subdomain"), names::dns_label, errors);
    for alias in spec.get("hostAliases").items() {
        check::ip(&alias.get("ip"), errors);
        for name in alias.get("hostnames").items() {
            check::named(&name, names::dns_subdomain, errors);
        }
    }
    check::optional_named(&spec.get("priorityClassName"), names::dns_subdomain, errors);
    check::optional_named(&spec.get("runtimeClassName"), names::dns_subdomain, errors);
    check::one_of(&spec.get("preemptionPolicy"), &["Never", "PreemptLowerPriority"], errors);
    if let os = spec.get("os")
        && os.is_set()
    {
        check::required_one_of(&os.get("name"), &["linux", "windows"], errors);
    }
    for gate in spec.get("readinessGates").items() {
        check::named(&gate.get("conditionType"), names::qualified_name, errors);
    }
}

fn dns_config(spec: &At<'_>, errors: &mut Errors) {
    let (config, policy) = (spec.get("dnsConfig"), spec.get("dnsPolicy"));
    if policy.str() == "None" {
        if !config.is_set() {
            errors.push(config.required("must provide `dnsConfig` when `dnsPolicy` is None"));
            return;
        }
        if config.get("nameservers").is_empty() {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(config.get("nameservers").required(why));
        }
    }
    let (servers, searches) = (config.get("nameservers"), config.get("searches"));
    if servers.items().count() > 3 {
        errors.push(servers.invalid("must not have more than 3 nameservers"));
    }
    servers.items().for_each(|server| check::ip(&server, errors));
    if searches.items().count() > 32 {
        errors.push(searches.invalid("must not have more than 32 search paths"));
    }
    for search in searches.items() {
        let name = search.str().strip_suffix('.').unwrap_or(search.str());
        if let Err(why) = names::dns_subdomain(&name.replace('_', "-"))
            && search.str() != "."
        {
            errors.push(search.invalid(why));
        }
    }
    for option in config.get("options").items() {
        if option.get("name").is_empty() {
            errors.push(FieldError::required(&option.path, "must not be empty"));
        }
    }
}
