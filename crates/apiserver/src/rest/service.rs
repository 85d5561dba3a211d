//! Cluster IPs and node ports.
//!
//! A cluster IP is held by an `IPAddress` object of its name (KEP-1880) and a node port by a key of its own, so that
//! two servers over one store cannot give either of them twice. What a crash left behind is found by [`repair`].

mod ports;
pub(crate) mod repair;

use std::net::{IpAddr, Ipv4Addr};

use api::ApiError;
use api::field::FieldError;
use ipnet::IpNet;
use serde_json::{Value, json};

use super::claims::Claim;
use crate::context::Context;
use crate::registry::list::Selection;

pub(crate) async fn claim(
    context: &Context,
    new: &mut Value,
    old: Option<&Value>,
    claim: &mut Claim,
) -> Result<(), ApiError> {
    claim_address(context, new, old, claim).await?;
    ports::claim(context, new, old, claim).await
}

/// Gives back the addresses and ports of a deleted Service.
pub(crate) async fn release(context: &Context, service: &Value) {
    let freed = Claim { addresses_freed: addresses(service), keys_freed: ports::keys(service), ..Claim::default() };
    freed.keep(context, service).await;
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
        claim.addresses_freed = before;
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
            let (address, uid) = take(context, new, asked).await?;
            claim.addresses_taken.push((address.clone(), uid));
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
async fn take(context: &Context, service: &Value, asked: &str) -> Result<(String, String), ApiError> {
    let invalid = |why: String| {
        let error = FieldError::invalid("spec.clusterIPs", &json!([asked]), why);
        context.kind.invalid(api::meta::name(service), &[error])
    };
    let ranges = ranges(context).await?;
    if !asked.is_empty() {
        let ip: IpAddr = asked
            .parse()
            .map_err(|_| invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into()))?;
        if !ranges.iter().any(|range| range.contains(&ip)) {
            let ranges = ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(invalid(format!(
                "failed to allocate IP {asked}: the provided IP is not in the valid range. The range of valid IPs is {ranges}"
            )));
        }
        return match hold(context, service, ip).await {
            Err(error) if error.reason == "AlreadyExists" => {
                Err(invalid(format!("failed to allocate IP {asked}: provided IP is already allocated")))
            }
            other => other,
        };
    }
    for ip in ranges.iter().flat_map(candidates) {
        match hold(context, service, ip).await {
            Err(error) if error.reason == "AlreadyExists" => {}
            other => return other,
        }
    }
    Err(ApiError::internal("failed to allocate a serviceIP: range is full"))
}

/// Where addresses are taken from: this server's range, and those of ServiceCIDRs that are ready.
async fn ranges(context: &Context) -> Result<Vec<IpNet>, ApiError> {
    let own = context.server.config.service_cidr;
    let mut ranges = vec![own];
    for object in context.server.own("networking.k8s.io", "servicecidrs", "")?.select(&Selection::default()).await? {
        ranges.extend(usable(&object.tree()?).filter(|range| range.addr().is_ipv4() == own.addr().is_ipv4()));
    }
    ranges.dedup();
    Ok(ranges)
}

/// The networks of a ServiceCIDR that addresses may be taken from.
fn usable(range: &Value) -> impl Iterator<Item = IpNet> {
    let mut conditions = range.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let ready = conditions.any(|c| api::meta::at(c, "/type") == "Ready" && api::meta::at(c, "/status") == "True");
    let cidrs = range.pointer("/spec/cidrs").and_then(Value::as_array).into_iter().flatten();
    let cidrs = cidrs.filter(move |_| ready).filter(|_| !api::meta::is_deleting(range));
    cidrs.filter_map(|cidr| cidr.as_str()?.parse().ok())
}

/// Makes the object that holds an address; returns the address and the object's uid.
async fn hold(context: &Context, service: &Value, ip: IpAddr) -> Result<(String, String), ApiError> {
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
    let written = addresses.create(object).await?;
    Ok((ip.to_string(), api::meta::uid(&written.tree).to_owned()))
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
