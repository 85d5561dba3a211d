//! Node ports.

use api::ApiError;
use api::field::FieldError;
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::rest::claims::Claim;

/// Where the claims of node ports are kept.
pub(super) const PREFIX: &str = "/registry/ranges/servicenodeports/";

const HEALTH: &str = "healthCheckNodePort";

fn key(protocol: &str, port: u64) -> String {
    format!("{PREFIX}{protocol}-{port}")
}

/// The keys that stand for the node ports of a Service.
pub(super) fn keys(service: &Value) -> Vec<String> {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).filter(|_| wants_ports(service));
    let own = ports.into_iter().flatten().filter_map(|p| number(p, "nodePort").map(|n| key(protocol(p), n)));
    let health = service.get("spec").filter(|_| wants_health_port(service)).and_then(|s| number(s, HEALTH));
    own.chain(health.map(|n| key("TCP", n))).collect()
}

fn number(object: &Value, field: &str) -> Option<u64> {
    object.get(field).and_then(Value::as_u64).filter(|n| *n > 0)
}

fn protocol(port: &Value) -> &str {
    port.get("protocol").and_then(Value::as_str).unwrap_or("TCP")
}

fn wants_ports(service: &Value) -> bool {
    match api::meta::at(service, "/spec/type") {
        "NodePort" => true,
        "LoadBalancer" => service.pointer("/spec/allocateLoadBalancerNodePorts") != Some(&Value::Bool(false)),
        _ => false,
    }
}

/// A balancer asks there which nodes have endpoints, when only those are to get connections.
fn wants_health_port(service: &Value) -> bool {
    api::meta::at(service, "/spec/type") == "LoadBalancer"
        && api::meta::at(service, "/spec/externalTrafficPolicy") == "Local"
}

/// A field that holds a port of the nodes.
struct Place<'a> {
    path: String,
    field: &'static str,
    protocol: &'a str,
}

/// Takes the ports that a Service asks for, and free ones where it leaves the choice.
pub(super) async fn claim(
    context: &Context,
    new: &mut Value,
    old: Option<&Value>,
    claim: &mut Claim,
) -> Result<(), ApiError> {
    let before = old.map(keys).unwrap_or_default();
    let owner = json!({"metadata": {
        "namespace": api::meta::namespace(new), "name": api::meta::name(new),
    }});
    if let Some(old) = old {
        keep_health_port(new, old);
    }
    if wants_health_port(new) {
        let place = Place { path: format!("spec.{HEALTH}"), field: HEALTH, protocol: "TCP" };
        let spec = api::meta::child_mut(api::meta::map_mut(new), "spec");
        claim_port(context, &place, spec, &owner, &before, claim).await?;
    } else if let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove(HEALTH);
    }
    if wants_ports(new) {
        if let Some(old) = old {
            keep_ports(new, old);
        }
        claim_node_ports(context, new, &owner, &before, claim).await?;
    } else {
        for port in new.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(port) = port.as_object_mut() {
                port.remove("nodePort");
            }
        }
    }
    let now = keys(new);
    claim.keys_freed = before.into_iter().filter(|key| !now.contains(key)).collect();
    Ok(())
}

/// A port of the nodes for each port of the service; one for ports that differ in their protocol only.
async fn claim_node_ports(
    context: &Context,
    service: &mut Value,
    owner: &Value,
    before: &[String],
    claim: &mut Claim,
) -> Result<(), ApiError> {
    share_ports(service);
    let mut chosen: Vec<(Option<u64>, Value)> = Vec::new();
    let ports = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for (i, port) in ports.into_iter().flatten().enumerate() {
        let protocol = protocol(port).to_owned();
        let place = Place { path: format!("spec.ports[{i}].nodePort"), field: "nodePort", protocol: &protocol };
        let (own, unsaid) = (number(port, "port"), number(port, "nodePort").is_none());
        let same = chosen.iter().find(|(other, _)| *other == own && unsaid);
        let object = api::meta::map_mut(port);
        if let Some((_, node_port)) = same {
            object.insert("nodePort".into(), node_port.clone());
        }
        match claim_port(context, &place, object, owner, before, claim).await {
            // Nobody asked for just this one.
            Err(_) if same.is_some() => {
                object.remove("nodePort");
                claim_port(context, &place, object, owner, before, claim).await?;
            }
            claimed => claimed?,
        }
        chosen.extend(object.get("nodePort").cloned().map(|node_port| (own, node_port)));
    }
    Ok(())
}

async fn claim_port(
    context: &Context,
    place: &Place<'_>,
    object: &mut Map<String, Value>,
    owner: &Value,
    before: &[String],
    claim: &mut Claim,
) -> Result<(), ApiError> {
    let range = context.server.config.node_ports.clone();
    let asked = object.get(place.field).and_then(Value::as_u64).filter(|n| *n > 0);
    let Some(asked) = asked else {
        let random = (0..128).map(|_| rand::random_range(range.clone())).collect::<Vec<u16>>();
        for candidate in random.into_iter().chain(range).map(u64::from) {
            let key = key(place.protocol, candidate);
            if !before.contains(&key) && claim.take_key(context, &key, owner).await? {
                object.insert(place.field.into(), candidate.into());
                return Ok(());
            }
        }
        return Err(ApiError::internal("failed to allocate a nodePort: range is full"));
    };
    let refuse = |why: String| {
        let error = FieldError::invalid(place.path.clone(), &asked.into(), why);
        Err(context.kind.invalid(api::meta::name(owner), &[error]))
    };
    if !u16::try_from(asked).is_ok_and(|p| range.contains(&p)) {
        return refuse(format!(
            "provided port is not in the valid range. The range of valid ports is {}-{}",
            range.start(),
            range.end()
        ));
    }
    let key = key(place.protocol, asked);
    if before.contains(&key) || claim.take_key(context, &key, owner).await? {
        return Ok(());
    }
    refuse("provided port is already allocated".into())
}

/// A port without a word about the nodes' gets what the same port of another protocol asks for.
fn share_ports(service: &mut Value) {
    let ports = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    let Some(ports) = ports else { return };
    let asked: Vec<(Option<u64>, u64)> =
        ports.iter().filter_map(|p| Some((number(p, "port"), number(p, "nodePort")?))).collect();
    for port in ports {
        let same = asked.iter().find(|(other, _)| *other == number(port, "port"));
        if let (None, Some((_, node_port)), Some(port)) = (number(port, "nodePort"), same, port.as_object_mut()) {
            port.insert("nodePort".into(), (*node_port).into());
        }
    }
}

fn keep_health_port(new: &mut Value, old: &Value) {
    let of = |service: &Value| service.get("spec").and_then(|spec| number(spec, HEALTH));
    if let (None, Some(before), true) = (of(new), of(old), wants_health_port(new)) {
        api::meta::child_mut(api::meta::map_mut(new), "spec").insert(HEALTH.into(), before.into());
    }
}

/// An update that does not name its node ports keeps those that it had.
fn keep_ports(new: &mut Value, old: &Value) {
    let before: Vec<(Value, Value, Value)> = old
        .pointer("/spec/ports")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|p| {
            let field = |f: &str| p.get(f).cloned().unwrap_or_default();
            (field("port"), field("protocol"), field("nodePort"))
        })
        .collect();
    for port in new.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(port) = port.as_object_mut() else { continue };
        if port.get("nodePort").and_then(Value::as_u64).unwrap_or(0) != 0 {
            continue;
        }
        let same = before.iter().find(|(number, protocol, node_port)| {
            port.get("port") == Some(number) && port.get("protocol") == Some(protocol) && !node_port.is_null()
        });
        if let Some((_, _, node_port)) = same {
            port.insert("nodePort".into(), node_port.clone());
        }
    }
}
