//! Cluster IPs and node ports.
//!
//! A cluster IP is held by an `IPAddress` object of its name, so that two servers cannot give it twice
//! (KEP-1880). Node ports are held by the Services themselves.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use api::ApiError;
use api::field::FieldError;
use ipnet::IpNet;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use crate::context::Context;
use crate::registry::delete::DeleteOptions;
use crate::registry::list::Selection;

/// Serializes what this server gives out.
#[derive(Default)]
pub(crate) struct Allocator {
    ports: Mutex<()>,
}

/// Addresses that were taken for a write.
#[derive(Default)]
pub(crate) struct Claim {
    taken: Vec<String>,
    freed: Vec<String>,
}

impl Claim {
    /// The write was done: what the object no longer names is free again.
    pub(crate) async fn keep(&self, context: &Context) {
        for address in &self.freed {
            give_back(context, address).await;
        }
    }

    /// The write was not done.
    pub(crate) async fn release(&self, context: &Context) {
        for address in &self.taken {
            give_back(context, address).await;
        }
    }
}

pub(crate) async fn claim(context: &Context, new: &mut Value, old: Option<&Value>) -> Result<Claim, ApiError> {
    let mut claim = Claim::default();
    claim_address(context, new, old, &mut claim).await?;
    if let Err(error) = claim_ports(context, new, old).await {
        claim.release(context).await;
        return Err(error);
    }
    Ok(claim)
}

/// Gives back the addresses of a deleted Service.
pub(crate) async fn release(context: &Context, service: &Value) {
    for address in addresses(service) {
        give_back(context, &address).await;
    }
}

async fn give_back(context: &Context, address: &str) {
    let Ok(addresses) = context.server.own("networking.k8s.io", "ipaddresses", "") else { return };
    if let Err(error) = addresses.delete(address, &DeleteOptions::default()).await
        && error.reason != "NotFound"
    {
        tracing::warn!(address, %error, "a cluster IP was not given back");
    }
}

fn addresses(service: &Value) -> Vec<String> {
    let ip = api::meta::at(service, "/spec/clusterIP");
    if ip.is_empty() || ip == "None" { Vec::new() } else { vec![ip.to_owned()] }
}

async fn claim_address(
    context: &Context,
    new: &mut Value,
    old: Option<&Value>,
    claim: &mut Claim,
) -> Result<(), ApiError> {
    let kind = api::meta::at(new, "/spec/type").to_owned();
    let before = old.map(addresses).unwrap_or_default();
    if kind == "ExternalName" {
        claim.freed = before;
        let spec = api::meta::child_mut(api::meta::map_mut(new), "spec");
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            spec.remove(field);
        }
        return Ok(());
    }
    let mut asked = api::meta::at(new, "/spec/clusterIP").to_owned();
    if asked.is_empty() {
        let list = new.pointer("/spec/clusterIPs/0").and_then(Value::as_str);
        asked = list.map(str::to_owned).or_else(|| before.first().cloned()).unwrap_or_default();
    }
    let address = match asked.as_str() {
        "None" => "None".to_owned(),
        asked if before.iter().any(|b| b == asked) => asked.to_owned(),
        asked if !context.options.dry_run => {
            let address = take(context, new, asked).await?;
            claim.taken.push(address.clone());
            address
        }
        asked => asked.to_owned(),
    };
    let spec = api::meta::child_mut(api::meta::map_mut(new), "spec");
    if !address.is_empty() {
        spec.insert("clusterIP".into(), address.as_str().into());
        spec.insert("clusterIPs".into(), json!([address]));
    }
    let family = if address.contains(':') { "IPv6" } else { "IPv4" };
    spec.entry("ipFamilies").or_insert_with(|| json!([family]));
    spec.entry("ipFamilyPolicy").or_insert_with(|| "SingleStack".into());
    Ok(())
}

/// Takes the asked address, or any free one.
async fn take(context: &Context, service: &Value, asked: &str) -> Result<String, ApiError> {
    let invalid = |why: String| {
        let error = FieldError::invalid("spec.clusterIPs", &json!([asked]), why);
        context.kind.invalid(api::meta::name(service), &[error])
    };
    if !asked.is_empty() {
        let ip: IpAddr = asked
            .parse()
            .map_err(|_| invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into()))?;
        let range = context.server.config.service_cidr;
        if !range.contains(&ip) {
            return Err(invalid(format!(
                "failed to allocate IP {asked}: the provided IP is not in the valid range. The range of valid IPs is {range}"
            )));
        }
        return match hold(context, service, ip).await {
            Err(error) if error.reason == "AlreadyExists" => {
                Err(invalid(format!("failed to allocate IP {asked}: provided IP is already allocated")))
            }
            other => other,
        };
    }
    for ip in candidates(&context.server.config.service_cidr) {
        match hold(context, service, ip).await {
            Err(error) if error.reason == "AlreadyExists" => {}
            other => return other,
        }
    }
    Err(ApiError::internal("failed to allocate a serviceIP: range is full"))
}

async fn hold(context: &Context, service: &Value, ip: IpAddr) -> Result<String, ApiError> {
    let addresses = context.server.own("networking.k8s.io", "ipaddresses", "")?;
    let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    let object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
        "metadata": {"name": ip.to_string(), "labels": {
            "ipaddress.kubernetes.io/ip-family": family,
            "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
        }},
        "spec": {"parentRef": {
            "group": "", "resource": "services",
            "namespace": api::meta::namespace(service), "name": api::meta::name(service),
        }},
    });
    addresses.create(object).await.map(|_| ip.to_string())
}

/// Free-looking addresses: at random from the upper part of the range, whose lower sixteenth is for static ones,
/// then one after the other.
fn candidates(range: &IpNet) -> Box<dyn Iterator<Item = IpAddr> + Send> {
    let IpNet::V4(range) = range else { return Box::new(std::iter::empty()) };
    let first = u32::from(range.network()) + 1;
    let size = u32::from(range.broadcast()).saturating_sub(first);
    let reserved = (size / 16).clamp(16, 256).min(size);
    let address = move |i: u32| IpAddr::V4(Ipv4Addr::from(first + i));
    let random = (0..64).map(move |_| address(rand::random_range(reserved..size.max(reserved + 1))));
    Box::new(random.chain((reserved..size).chain(0..reserved).map(address)))
}

fn wants_ports(service: &Value) -> bool {
    match api::meta::at(service, "/spec/type") {
        "NodePort" => true,
        "LoadBalancer" => service.pointer("/spec/allocateLoadBalancerNodePorts") != Some(&Value::Bool(false)),
        _ => false,
    }
}

/// A balancer asks there which nodes have endpoints.
fn wants_health_port(service: &Value) -> bool {
    api::meta::at(service, "/spec/type") == "LoadBalancer"
        && api::meta::at(service, "/spec/externalTrafficPolicy") == "Local"
}

fn ports_of(service: &Value) -> impl Iterator<Item = (u64, &str)> {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    let own = ports.filter_map(|p| {
        let protocol = p.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
        p.get("nodePort").and_then(Value::as_u64).filter(|n| *n > 0).map(|n| (n, protocol))
    });
    let health = service.pointer("/spec/healthCheckNodePort").and_then(Value::as_u64).filter(|n| *n > 0);
    own.chain(health.map(|n| (n, "TCP")))
}

async fn claim_ports(context: &Context, new: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
    if !wants_health_port(new)
        && let Some(spec) = new.pointer_mut("/spec").and_then(Value::as_object_mut)
    {
        spec.remove("healthCheckNodePort");
    }
    if !wants_ports(new) && !wants_health_port(new) {
        for port in new.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(port) = port.as_object_mut() {
                port.remove("nodePort");
            }
        }
        return Ok(());
    }
    // Held until the Service is stored would be stricter; what is given twice in between loses the swap of the other.
    let _guard = context.server.allocator.ports.lock().await;
    let used = used_ports(context, new).await?;
    if let Some(old) = old {
        keep_ports(new, old);
    }
    let wanted = wants_ports(new);
    let name = api::meta::name(new).to_owned();
    let mut ports = Ports { range: context.server.config.node_ports.clone(), used };
    let mut take = |object: &mut Map<String, Value>, key: &str, protocol: &str, field: String| {
        let asked = object.get(key).and_then(Value::as_u64).filter(|n| *n > 0);
        let taken = ports.take(asked, protocol);
        let taken = taken.map_err(|why| match (why, asked) {
            (Refused::Asked(why), Some(asked)) => {
                context.kind.invalid(&name, &[FieldError::invalid(field, &asked.into(), why)])
            }
            _ => ApiError::internal("failed to allocate a nodePort: range is full"),
        })?;
        object.insert(key.into(), taken.into());
        Ok::<_, ApiError>(())
    };
    let list = new.pointer_mut("/spec/ports").and_then(Value::as_array_mut).filter(|_| wanted);
    for (i, port) in list.into_iter().flatten().enumerate() {
        let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP").to_owned();
        take(api::meta::map_mut(port), "nodePort", &protocol, format!("spec.ports[{i}].nodePort"))?;
    }
    if wants_health_port(new) {
        let spec = api::meta::child_mut(api::meta::map_mut(new), "spec");
        take(spec, "healthCheckNodePort", "TCP", "spec.healthCheckNodePort".into())?;
    }
    Ok(())
}

/// The range of node ports, and which are given out.
struct Ports {
    range: RangeInclusive<u16>,
    used: HashSet<(u64, String)>,
}

/// Why there is no port.
enum Refused {
    Asked(String),
    Full,
}

impl Ports {
    /// The asked port, or any free one.
    fn take(&mut self, asked: Option<u64>, protocol: &str) -> Result<u64, Refused> {
        let Some(asked) = asked else {
            let random = (0..128).map(|_| rand::random_range(self.range.clone()));
            let mut all = random.chain(self.range.clone()).map(u64::from);
            let free = all.find(|port| !self.used.contains(&(*port, protocol.to_owned()))).ok_or(Refused::Full)?;
            self.used.insert((free, protocol.to_owned()));
            return Ok(free);
        };
        if !u16::try_from(asked).is_ok_and(|port| self.range.contains(&port)) {
            return Err(Refused::Asked(format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                self.range.start(),
                self.range.end()
            )));
        }
        if !self.used.insert((asked, protocol.to_owned())) {
            return Err(Refused::Asked("provided port is already allocated".into()));
        }
        Ok(asked)
    }
}

async fn used_ports(context: &Context, except: &Value) -> Result<HashSet<(u64, String)>, ApiError> {
    let services = context.server.own("", "services", "")?;
    let mut used = HashSet::new();
    for object in services.select(&Selection::default()).await? {
        let attributes = object.attributes(&services.kind);
        let own =
            &*attributes.name == api::meta::name(except) && &*attributes.namespace == api::meta::namespace(except);
        if !own && matches!(attributes.field("spec.type"), Some("NodePort" | "LoadBalancer")) {
            used.extend(ports_of(&object.tree()?).map(|(n, p)| (n, p.to_owned())));
        }
    }
    Ok(used)
}

/// An update that does not name its node ports keeps those that it had.
fn keep_ports(new: &mut Value, old: &Value) {
    let health = |service: &Value| service.pointer("/spec/healthCheckNodePort").and_then(Value::as_u64).unwrap_or(0);
    if health(new) == 0 && health(old) != 0 && wants_health_port(new) {
        let spec = api::meta::child_mut(api::meta::map_mut(new), "spec");
        spec.insert("healthCheckNodePort".into(), health(old).into());
    }
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
