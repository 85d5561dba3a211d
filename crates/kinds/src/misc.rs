//! Kinds with few rules: Lease, PriorityClass, NetworkPolicy, Ingress, PodDisruptionBudget,
//! ServiceCIDR.

use api::field::FieldError;
use serde_json::{Value, json};

use crate::Rules;
use crate::check::{self, At, Errors};

/// Highest priority that users may define.
const HIGHEST_USER_PRIORITY: i64 = 1_000_000_000;

pub(crate) static LEASE: Rules =
    Rules { create_on_update: true, has_generation: false, validate: lease, ..Rules::PLAIN };

fn lease(lease: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(lease, "spec");
    let seconds = spec.get("leaseDurationSeconds");
    if seconds.int().is_some_and(|s| s <= 0) {
        errors.push(seconds.invalid("must be greater than 0"));
    }
    check::not_negative(&spec.get("leaseTransitions"), &mut errors);
    errors
}

pub(crate) static PRIORITY_CLASS: Rules = Rules {
    validate: |class| {
        let mut errors = Errors::new();
        let (name, value) = (api::meta::name(class), At::field(class, "value"));
        let system = matches!(name, "system-node-critical" | "system-cluster-critical");
        if name.starts_with("system-") && !system {
            let why = "priority class names with 'system-' prefix are reserved for system use only. error: unknown system priority class";
            errors.push(FieldError::forbidden("metadata.name", why));
        } else if !system && value.int().unwrap_or(0) > HIGHEST_USER_PRIORITY {
            let why = format!("maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}");
            errors.push(value.forbidden(why));
        }
        check::one_of(&At::field(class, "preemptionPolicy"), &["Never", "PreemptLowerPriority"], &mut errors);
        errors
    },
    validate_update: |new, old| {
        let mut errors = Errors::new();
        let value = |class| At::field(class, "value").int().unwrap_or(0);
        if value(new) != value(old) {
            errors.push(At::field(new, "value").forbidden("may not be changed in an update."));
        }
        let (now, was) = (At::field(new, "preemptionPolicy"), At::field(old, "preemptionPolicy"));
        check::immutable(&now, &was, check::IMMUTABLE, &mut errors);
        errors
    },
    ..Rules::PLAIN
};

pub(crate) static NETWORK_POLICY: Rules = Rules {
    default: |policy| {
        let Some(spec) = policy.get_mut("spec").and_then(Value::as_object_mut) else { return };
        let list = |field: &str| spec.get(field).is_some_and(|v| !At::new(v, "").is_empty());
        if !list("policyTypes") {
            let types = if list("egress") { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
            spec.insert("policyTypes".into(), types);
        }
    },
    validate: network_policy,
    ..Rules::PLAIN
};

fn network_policy(policy: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(policy, "spec");
    check::label_selector(&spec.get("podSelector"), &mut errors);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.get(direction).items() {
            for port in rule.get("ports").items() {
                check::one_of(&port.get("protocol"), &["SCTP", "TCP", "UDP"], &mut errors);
                if port.get("port").is_set() {
                    check::port_or_name(&port.get("port"), &mut errors);
                }
            }
            rule.get(peers).items().for_each(|peer| policy_peer(&peer, &mut errors));
        }
    }
    for kind in spec.get("policyTypes").items() {
        check::one_of(&kind, &["Egress", "Ingress"], &mut errors);
    }
    errors
}

fn policy_peer(peer: &At<'_>, errors: &mut Errors) {
    let (pods, spaces, block) = (peer.get("podSelector"), peer.get("namespaceSelector"), peer.get("ipBlock"));
    check::label_selector(&pods, errors);
    check::label_selector(&spaces, errors);
    match (block.is_set(), pods.is_set() || spaces.is_set()) {
        (true, true) => errors.push(peer.forbidden("may not specify both ipBlock and another peer")),
        (false, false) => errors.push(peer.required("must specify a peer")),
        (true, false) => {
            let range = block.get("cidr");
            if check::required(&range, errors) {
                check::cidr(&range, errors);
            }
        }
        (false, true) => {}
    }
}

pub(crate) static INGRESS: Rules = Rules {
    prepare_create: |ingress| api::meta::put(ingress, "status", json!({"loadBalancer": {}})),
    validate: ingress,
    ..Rules::PLAIN
};

fn ingress(ingress: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(ingress, "spec");
    let backend = spec.get("defaultBackend");
    if spec.get("rules").is_empty() && !backend.is_set() {
        errors.push(FieldError::invalid("spec", spec.value, "either `defaultBackend` or `rules` must be specified"));
    }
    for rule in spec.get("rules").items() {
        let host = rule.get("host");
        let plain = host.str().strip_prefix("*.").unwrap_or(host.str());
        if !host.is_empty()
            && let Err(why) = api::names::dns_subdomain(plain)
        {
            errors.push(host.invalid(why));
        }
        for path in rule.get("http").get("paths").items() {
            let (kind, text) = (path.get("pathType"), path.get("path"));
            if kind.is_empty() {
                errors.push(kind.required("pathType must be specified"));
            } else {
                check::one_of(&kind, &["Exact", "ImplementationSpecific", "Prefix"], &mut errors);
            }
            if matches!(kind.str(), "Exact" | "Prefix") && !text.str().starts_with('/') {
                errors.push(FieldError::invalid(&text.path, &text.str().into(), "must be an absolute path"));
            }
        }
    }
    errors
}

pub(crate) static DISRUPTION_BUDGET: Rules = Rules {
    prepare_create: |budget| {
        let status = json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0});
        api::meta::put(budget, "status", status);
    },
    validate: |budget| {
        let mut errors = Errors::new();
        let spec = At::field(budget, "spec");
        if spec.get("minAvailable").is_set() && spec.get("maxUnavailable").is_set() {
            let why = "minAvailable and maxUnavailable cannot be both set";
            errors.push(FieldError::invalid("spec", spec.value, why));
        }
        check::label_selector(&spec.get("selector"), &mut errors);
        errors
    },
    ..Rules::PLAIN
};

pub(crate) static SERVICE_CIDR: Rules =
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
