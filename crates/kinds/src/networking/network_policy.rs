//! NetworkPolicies.

use serde_json::{Value, json};

use crate::Rules;
use crate::check::{self, At, Errors};

pub(super) static NETWORK_POLICY: Rules = Rules {
    default: |policy| {
        let Some(spec) = policy.get_mut("spec").and_then(Value::as_object_mut) else { return };
        let list = |field: &str| spec.get(field).is_some_and(|v| !At::new(v, "").is_empty());
        if !list("policyTypes") {
            let types = if list("egress") { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
            spec.insert("policyTypes".into(), types);
        }
    },
    validate,
    ..Rules::PLAIN
};

fn validate(policy: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(policy, "spec");
    check::label_selector(&spec.get("podSelector"), &mut errors);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.get(direction).items() {
            rule.get("ports").items().for_each(|at| port(&at, &mut errors));
            rule.get(peers).items().for_each(|at| peer(&at, &mut errors));
        }
    }
    let types = spec.get("policyTypes");
    if types.count() > 2 {
        errors.push(types.invalid("may not specify more than two policyTypes"));
        return errors;
    }
    for kind in types.items() {
        if !matches!(kind.str(), "Ingress" | "Egress") {
            errors.push(kind.not_supported(&["Ingress", "Egress"]));
        }
    }
    errors
}

fn port(at: &At<'_>, errors: &mut Errors) {
    check::one_of(&at.get("protocol"), &["TCP", "UDP", "SCTP"], errors);
    let (first, last) = (at.get("port"), at.get("endPort"));
    match first.value {
        Value::Null if last.is_set() => errors.push(last.invalid("may not be specified when `port` is not specified")),
        Value::Null => {}
        Value::String(_) => {
            if last.is_set() {
                errors.push(last.invalid("may not be specified when `port` is non-numeric"));
            }
            check::port_or_name(&first, errors);
        }
        _ => {
            check::port(&first, errors);
            if last.is_set() {
                if last.int() < first.int() {
                    errors.push(last.invalid("must be greater than or equal to `port`"));
                }
                check::port(&last, errors);
            }
        }
    }
}

fn peer(peer: &At<'_>, errors: &mut Errors) {
    let (pods, spaces, block) = (peer.get("podSelector"), peer.get("namespaceSelector"), peer.get("ipBlock"));
    check::label_selector(&pods, errors);
    check::label_selector(&spaces, errors);
    if block.is_set() {
        ip_block(&block, errors);
    }
    match (block.is_set(), pods.is_set() || spaces.is_set()) {
        (true, true) => errors.push(peer.forbidden("may not specify both ipBlock and another peer")),
        (false, false) => errors.push(peer.required("must specify a peer")),
        _ => {}
    }
}

fn ip_block(block: &At<'_>, errors: &mut Errors) {
    let range = block.get("cidr");
    if !check::required(&range, errors) {
        return;
    }
    let Some(whole) = check::cidr(&range, errors) else { return };
    for at in block.get("except").items() {
        let Some(part) = check::cidr(&at, errors) else { continue };
        if !whole.contains(&part.addr()) || whole.prefix_len() >= part.prefix_len() {
            errors.push(at.invalid("must be a strict subset of `cidr`"));
        }
    }
}
