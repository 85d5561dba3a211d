//! Node ports.

use api::ApiError;
use api::field::FieldError;
use serde_json::{Value, json};

use crate::context::Context;
use crate::rest::claims::Claim;

/// Where the claims of node ports are kept.
pub(super) const PREFIX: &str = "/registry/ranges/servicenodeports/";

fn key(protocol: &str, port: u64) -> String {
    format!("{PREFIX}{protocol}-{port}")
}

/// The keys that stand for the node ports of a Service.
pub(super) fn keys(service: &Value) -> Vec<String> {
    if !wants_ports(service) {
        return Vec::new();
    }
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    let own = ports.filter_map(|p| node_port(p).map(|n| key(protocol(p), n)));
    let health = service.pointer("/spec/healthCheckNodePort").and_then(Value::as_u64).filter(|n| *n > 0);
    own.chain(health.map(|n| key("TCP", n))).collect()
}

fn node_port(port: &Value) -> Option<u64> {
    port.get("nodePort").and_then(Value::as_u64).filter(|n| *n > 0)
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

/// Takes the ports that a Service asks for, and free ones where it leaves the choice.
pub(super) async fn claim(
    context: &Context,
    new: &mut Value,
    old: Option<&Value>,
    claim: &mut Claim,
) -> Result<(), ApiError> {
    let before = old.map(keys).unwrap_or_default();
    if wants_ports(new) {
        if let Some(old) = old {
            keep_ports(new, old);
        }
        let owner = json!({"metadata": {
            "namespace": api::meta::namespace(new), "name": api::meta::name(new),
        }});
        let ports = new.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
        for (i, port) in ports.into_iter().flatten().enumerate() {
            claim_port(context, i, port, &owner, &before, claim).await?;
        }
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

async fn claim_port(
    context: &Context,
    index: usize,
    port: &mut Value,
    owner: &Value,
    before: &[String],
    claim: &mut Claim,
) -> Result<(), ApiError> {
    let range = context.server.config.node_ports.clone();
    let protocol = protocol(port).to_owned();
    let Some(asked) = node_port(port) else {
        let random = (0..128).map(|_| rand::random_range(range.clone())).collect::<Vec<u16>>();
        for candidate in random.into_iter().chain(range).map(u64::from) {
            let key = key(&protocol, candidate);
            if !before.contains(&key) && claim.take_key(context, &key, owner).await? {
                api::meta::map_mut(port).insert("nodePort".into(), candidate.into());
                return Ok(());
            }
        }
        return Err(ApiError::internal("failed to allocate a nodePort: range is full"));
    };
    let refuse = |why: String| {
        let error = FieldError::invalid(format!("spec.ports[{index}].nodePort"), &asked.into(), why);
        Err(context.kind.invalid(api::meta::name(owner), &[error]))
    };
    if !u16::try_from(asked).is_ok_and(|p| range.contains(&p)) {
        return refuse(format!(
            "provided port is not in the valid range. The range of valid ports is {}-{}",
            range.start(),
            range.end()
        ));
    }
    let key = key(&protocol, asked);
    if before.contains(&key) || claim.take_key(context, &key, owner).await? {
        return Ok(());
    }
    refuse("provided port is already allocated".into())
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
