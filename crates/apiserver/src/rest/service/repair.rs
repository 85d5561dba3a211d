//! Pools and Services brought together again: what a server that died half-way left taken is freed, what a Service uses
//! is held.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use api::ApiError;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde_json::Value;
use storage::{ListOptions, Revision};

use super::{addresses, hold, ports};
use crate::registry::Object;
use crate::registry::delete::Preconditions;
use crate::registry::list::Selection;
use crate::rest::claims::{give_back_address, give_back_key, hold_key};
use crate::server::{Server, read_error};

/// How often a server that is not alone looks: upstream's interval.
const INTERVAL: Duration = Duration::from_secs(180);
/// What was taken more recently may belong to a write that is still under way.
const UNDER_WAY: SignedDuration = SignedDuration::from_secs(15);

/// Looks again and again while other servers take from the same pools.
pub(crate) async fn keep(server: Arc<Server>) {
    while server.store.is_shared() {
        tokio::select! {
            () = server.stopping.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        if let Err(error) = run(&server).await {
            tracing::warn!(%error, "the pools of Services were not checked");
        }
    }
}

/// Looks once.
pub(crate) async fn run(server: &Arc<Server>) -> Result<(), ApiError> {
    let alone = !server.store.is_shared();
    // First what is held, then who uses it: what is taken in between is not seen, and not freed.
    let held = server.own("networking.k8s.io", "ipaddresses", "")?.select(&Selection::default()).await?;
    let options = ListOptions { prefix: ports::PREFIX, ..ListOptions::default() };
    let keys = server.store.list(options).await.map_err(read_error)?.entries;
    let services = server.own("", "services", "")?;
    let present: Vec<Value> =
        services.select(&Selection::default()).await?.iter().map(Object::tree).collect::<Result<_, _>>()?;
    let used: HashSet<String> = present.iter().flat_map(addresses).collect();
    let used_keys: HashSet<String> = present.iter().flat_map(ports::keys).collect();
    for object in &held {
        let tree = object.tree()?;
        if !used.contains(api::meta::name(&tree)) && (alone || is_settled(&tree)) && is_ours(&tree) {
            let name = api::meta::name(&tree);
            tracing::info!(address = name, "a cluster IP without a Service is free again");
            give_back_address(&services, name, Preconditions::uid(api::meta::uid(&tree))).await;
        }
    }
    for entry in keys.iter().filter(|e| !used_keys.contains(e.key.as_str())) {
        // No time is written beside a port: what still stands at the next look is given back.
        if alone || server.suspects.again(entry.key.as_str(), entry.modified) {
            give_back_key(server, entry.key.as_str(), entry.modified).await;
        }
    }
    let held: HashSet<String> =
        held.iter().filter_map(|o| o.tree().ok()).map(|t| api::meta::name(&t).to_owned()).collect();
    for service in &present {
        for address in addresses(service).into_iter().filter(|a| !held.contains(a)) {
            if let Ok(ip) = address.parse() {
                ignore_taken(hold(&services, service, ip).await.map(drop))?;
            }
        }
        for key in ports::keys(service) {
            hold_key(server, &key, service).await?;
        }
    }
    Ok(())
}

/// Claims that nobody used when they were last looked at.
#[derive(Default)]
pub(crate) struct Suspects(Mutex<HashMap<String, Revision>>);

impl Suspects {
    /// Whether the claim was suspected already; it is from now on.
    fn again(&self, key: &str, revision: Revision) -> bool {
        let mut suspects = self.0.lock();
        if suspects.len() > 10_000 {
            suspects.clear();
        }
        suspects.insert(key.to_owned(), revision) == Some(revision)
    }
}

/// Somebody else was faster.
fn ignore_taken(result: Result<(), ApiError>) -> Result<(), ApiError> {
    match result {
        Err(error) if error.reason != "AlreadyExists" => Err(error),
        _ => Ok(()),
    }
}

fn is_settled(address: &Value) -> bool {
    let created: Option<Timestamp> = api::meta::text(address, "creationTimestamp").parse().ok();
    created.is_some_and(|created| Timestamp::now().duration_since(created) > UNDER_WAY)
}

/// Addresses that others manage are left alone.
fn is_ours(address: &Value) -> bool {
    api::meta::label(address, "ipaddress.kubernetes.io/managed-by") == Some("ipallocator.k8s.io")
}
