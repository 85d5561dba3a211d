//! Validation of Services.

use std::collections::HashSet;

use api::field::FieldError;
use api::names;
use serde_json::{Value, json};

use crate::check::{self, At, Errors};

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

pub(crate) fn validate(service: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(service, "spec");
    let kind = spec.get("type");
    check::required_one_of(&kind, TYPES, &mut errors);
    addresses(&spec, &mut errors);
    ports(&spec, &mut errors);
    check::labels(&spec.get("selector"), &mut errors);
    affinity(&spec, &mut errors);
    for address in spec.get("externalIPs").items() {
        check::ip(&address, &mut errors);
    }
    policies(&spec, &mut errors);
    let ranges = spec.get("loadBalancerSourceRanges");
    for range in ranges.items() {
        if kind.str() != "LoadBalancer" {
            errors.push(ranges.forbidden("may only be used when `type` is 'LoadBalancer'"));
            break;
        }
        check::cidr(&range, &mut errors);
    }
    errors
}

fn addresses(spec: &At<'_>, errors: &mut Errors) {
    let (kind, list, ip) = (spec.get("type"), spec.get("clusterIPs"), spec.get("clusterIP"));
    if kind.str() == "ExternalName" {
        if !ip.is_empty() || !list.is_empty() {
            errors.push(list.forbidden("may not be set for ExternalName services"));
        }
        let name = spec.get("externalName");
        if name.is_empty() {
            errors.push(name.required(""));
        } else if let Err(why) = names::dns_subdomain(name.str().strip_suffix('.').unwrap_or(name.str())) {
            errors.push(name.invalid(why));
        }
        return;
    }
    let first = list.items().next().map_or(ip.str(), |a| a.str());
    if !ip.is_empty() && !list.is_empty() && ip.str() != first {
        errors.push(list.invalid("first value must match `clusterIP`"));
    }
    let place = format!("{}[0]", list.path);
    match first {
        "" => {}
        "None" if matches!(kind.str(), "NodePort" | "LoadBalancer") => {
            let why = format!("may not be set to 'None' for {} services", kind.str());
            errors.push(FieldError::invalid(place, &"None".into(), why));
        }
        "None" => {}
        address => check::ip(&At::new(&json!(address), place), errors),
    }
    for family in spec.get("ipFamilies").items() {
        check::one_of(&family, &["IPv4", "IPv6"], errors);
    }
    check::one_of(&spec.get("ipFamilyPolicy"), &["PreferDualStack", "RequireDualStack", "SingleStack"], errors);
}

fn ports(spec: &At<'_>, errors: &mut Errors) {
    let (kind, ports) = (spec.get("type"), spec.get("ports"));
    let headless = spec.get("clusterIP").str() == "None";
    if ports.is_empty() && !headless && kind.str() != "ExternalName" {
        errors.push(ports.required(""));
    }
    let several = ports.items().count() > 1;
    let (mut names, mut numbers, mut nodes) = (HashSet::new(), HashSet::new(), HashSet::new());
    for port in ports.items() {
        let name = port.get("name");
        if name.is_empty() {
            if several {
                errors.push(name.required(""));
            }
        } else {
            check::named(&name, names::dns_label, errors);
            if !names.insert(name.str()) {
                errors.push(name.duplicate());
            }
        }
        check::port(&port.get("port"), errors);
        let protocol = port.get("protocol");
        check::required_one_of(&protocol, &["SCTP", "TCP", "UDP"], errors);
        check::port_or_name(&port.get("targetPort"), errors);
        let key = (protocol.str(), port.get("port").int());
        if !numbers.insert(key) {
            let said = json!({"port": key.1, "protocol": key.0});
            errors.push(FieldError::duplicate(&port.path, &said));
        }
        node_port(&port, kind.str(), &mut nodes, errors);
    }
}

fn node_port<'a>(port: &At<'a>, kind: &str, taken: &mut HashSet<(&'a str, i64)>, errors: &mut Errors) {
    let at = port.get("nodePort");
    let Some(number) = at.int().filter(|n| *n != 0) else { return };
    if matches!(kind, "ClusterIP" | "ExternalName") {
        errors.push(at.forbidden(format!("may not be used when `type` is '{kind}'")));
    } else if !taken.insert((port.get("protocol").str(), number)) {
        errors.push(at.duplicate());
    }
}

fn affinity(spec: &At<'_>, errors: &mut Errors) {
    let affinity = spec.get("sessionAffinity");
    check::required_one_of(&affinity, &["ClientIP", "None"], errors);
    let seconds = spec.get("sessionAffinityConfig").get("clientIP").get("timeoutSeconds");
    if affinity.str() == "ClientIP" && !(1..=86_400).contains(&seconds.int().unwrap_or(0)) {
        errors.push(seconds.invalid("must be greater than 0 and less than 86400"));
    }
}

fn policies(spec: &At<'_>, errors: &mut Errors) {
    let (external, kind) = (spec.get("externalTrafficPolicy"), spec.get("type").str());
    check::one_of(&external, &["Cluster", "Local"], errors);
    check::one_of(&spec.get("internalTrafficPolicy"), &["Cluster", "Local"], errors);
    let outside = matches!(kind, "NodePort" | "LoadBalancer") || !spec.get("externalIPs").is_empty();
    if !external.is_empty() && !outside {
        errors.push(external.invalid("may only be set for externally-accessible services"));
    }
    let class = spec.get("loadBalancerClass");
    if class.is_set() && kind != "LoadBalancer" {
        errors.push(class.forbidden("may only be used when `type` is 'LoadBalancer'"));
    }
    let health = spec.get("healthCheckNodePort");
    let needs = kind == "LoadBalancer" && external.str() == "Local";
    if health.int().unwrap_or(0) != 0 && !needs {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(health.invalid(why));
    }
}

pub(crate) fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let (spec, before) = (At::field(new, "spec"), At::field(old, "spec"));
    let (now, was) = (spec.get("clusterIP"), before.get("clusterIP"));
    let stays = spec.get("type").str() != "ExternalName" && before.get("type").str() != "ExternalName";
    if stays && !was.is_empty() && now.value != was.value {
        let list = json!([now.str()]);
        errors.push(FieldError::invalid("spec.clusterIPs[0]", &list, "may not change once set"));
    }
    errors
}

/// What an update leaves out of what was given stays: addresses, and node ports of ports that are still there.
pub(crate) fn prepare_update(new: &mut Value, old: &Value) {
    let kind = |s: &Value| api::meta::at(s, "/spec/type").to_owned();
    let (now, was) = (kind(new), kind(old));
    if was != "ExternalName" && now != "ExternalName" {
        let spec = api::meta::child_mut(api::meta::map_mut(new), "spec");
        for field in ["clusterIP", "clusterIPs"] {
            let empty = spec.get(field).is_none_or(|v| At::new(v, "").is_empty());
            if let Some(value) = old.pointer(&format!("/spec/{field}")).filter(|_| empty) {
                spec.insert(field.into(), value.clone());
            }
        }
    }
    if was != "ExternalName" && now == "ExternalName" {
        drop_addresses(new, old);
    }
    let outside = |kind: &str| matches!(kind, "NodePort" | "LoadBalancer");
    if outside(&was) && !outside(&now) {
        release(new, old);
    }
    // A health port that was given and is not needed any more goes without a word.
    let needed = now == "LoadBalancer" && api::meta::at(new, "/spec/externalTrafficPolicy") == "Local";
    let same = new.pointer("/spec/healthCheckNodePort") == old.pointer("/spec/healthCheckNodePort");
    if !needed && same {
        api::meta::child_mut(api::meta::map_mut(new), "spec").remove("healthCheckNodePort");
    }
}

/// A Service that becomes another name for something gives its addresses back, unless it asks for others than it had
/// (which is a mistake).
fn drop_addresses(new: &mut Value, old: &Value) {
    const FIELDS: [&str; 2] = ["clusterIP", "clusterIPs"];
    let spec = api::meta::child_mut(api::meta::map_mut(new), "spec");
    let had = |field: &str| old.pointer(&format!("/spec/{field}"));
    let kept = |field: &&str| spec.get(*field).is_none_or(|v| At::new(v, "").is_empty() || Some(v) == had(field));
    if FIELDS.iter().all(kept) {
        FIELDS.iter().for_each(|field| drop(spec.remove(*field)));
    }
}

/// A Service that leaves the nodes' ports names none, unless it asks for others than before (which is a mistake).
fn release(new: &mut Value, old: &Value) {
    let before: Vec<Value> =
        At::field(old, "spec").get("ports").items().map(|p| p.get("nodePort").value.clone()).collect();
    let spec = api::meta::child_mut(api::meta::map_mut(new), "spec");
    let same = old.pointer("/spec/externalTrafficPolicy") == spec.get("externalTrafficPolicy");
    if same && spec.get("externalIPs").is_none_or(|e| At::new(e, "").is_empty()) {
        spec.remove("externalTrafficPolicy");
    }
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let port = api::meta::map_mut(port);
        if port.get("nodePort").is_some_and(|n| before.contains(n)) {
            port.remove("nodePort");
        }
    }
}
