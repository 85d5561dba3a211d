//! Where the Service `kubernetes` leads: to every API server that is alive.
//!
//! A server that is alone writes its own address once. Servers that share a store each keep a key that goes by itself
//! when its server dies (upstream's lease reconciler, and upstream's keys), and bring the endpoints to what keys there
//! are whenever one comes or goes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use api::ApiError;
use bytes::Bytes;
use serde_json::{Value, json};
use storage::{Durability, Event, ListOptions, Watch, Write, WriteError};

use crate::bootstrap::replace;
use crate::server::{Server, read_error};

const PREFIX: &str = "/registry/masterleases/";
/// A key lasts this long, and is renewed this often.
const SECONDS: u64 = 15;
const RENEW: Duration = Duration::from_secs(5);
/// After a failed attempt.
const RETRY: Duration = Duration::from_secs(1);
/// A server that stops takes itself out within this time, or leaves it to the others.
const LEAVE: Duration = Duration::from_secs(3);

/// Keeps the endpoints while the server runs.
pub(crate) async fn keep(server: Arc<Server>) {
    if !server.store.is_shared() {
        return;
    }
    let mut watch = None;
    while !server.stopping.is_cancelled() {
        let wait = match renew(&server, &mut watch).await {
            Ok(()) => RENEW,
            Err(error) => {
                tracing::warn!(%error, "the endpoints of the API servers could not be kept");
                RETRY
            }
        };
        tokio::select! {
            () = server.stopping.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
            () = somebody_came_or_went(&mut watch) => {}
        }
    }
    if tokio::time::timeout(LEAVE, leave(&server)).await.is_err() {
        tracing::warn!("this server's endpoint is left for the others to remove");
    }
}

async fn renew(server: &Arc<Server>, watch: &mut Option<Watch>) -> Result<(), ApiError> {
    let own = server.config.advertise_address;
    let value = json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": own.to_string()},
        "subsets": [{"addresses": [{"ip": own.to_string()}]}],
    });
    set_key(server, own, Some(Bytes::from(value.to_string()))).await?;
    if watch.is_none() {
        let from = server.store.current().await.map_err(read_error)?;
        *watch = server.store.watch(PREFIX, from).ok();
    }
    let alive = alive(server).await?;
    write_endpoints(server, &alive).await
}

/// Returns when another server's key is new or gone; renewals wake nobody.
async fn somebody_came_or_went(watch: &mut Option<Watch>) {
    let Some(changes) = watch else { return std::future::pending().await };
    loop {
        match changes.next().await {
            Ok(events) if events.iter().any(came_or_went) => return,
            Ok(_) => {}
            Err(_) => {
                *watch = None;
                return;
            }
        }
    }
}

fn came_or_went(event: &Event) -> bool {
    event.now.is_none() || event.before.is_none()
}

async fn leave(server: &Arc<Server>) {
    let left = async {
        set_key(server, server.config.advertise_address, None).await?;
        let alive = alive(server).await?;
        write_endpoints(server, &alive).await
    };
    if let Err(error) = left.await {
        tracing::warn!(%error, "this server's endpoint is left for the others to remove");
    }
}

/// Writes or removes the key of an address.
async fn set_key(server: &Server, address: IpAddr, value: Option<Bytes>) -> Result<(), ApiError> {
    let key = format!("{PREFIX}{address}");
    let mut expected = server.store.get(&key).await.map_err(read_error)?.map(|e| e.modified);
    loop {
        if value.is_none() && expected.is_none() {
            return Ok(());
        }
        let (key, durability) = (key.as_str().into(), Durability::Cheap);
        let write = Write { key, value: value.clone(), expected, durability, ttl_seconds: Some(SECONDS) };
        match server.store.write(write).await {
            Ok(_) => return Ok(()),
            Err(WriteError::Conflict(present)) => expected = present.map(|e| e.modified),
            Err(error) => return Err(ApiError::unavailable(error.to_string())),
        }
    }
}

/// Addresses of the servers that have a key.
async fn alive(server: &Server) -> Result<BTreeSet<IpAddr>, ApiError> {
    let page = server.store.list(ListOptions { prefix: PREFIX, ..ListOptions::default() }).await.map_err(read_error)?;
    Ok(page.entries.iter().filter_map(|e| e.key.as_str().strip_prefix(PREFIX)?.parse().ok()).collect())
}

/// Brings Endpoints and EndpointSlice of the Service `kubernetes` to these addresses.
pub(crate) async fn write_endpoints(server: &Arc<Server>, addresses: &BTreeSet<IpAddr>) -> Result<(), ApiError> {
    let own = server.config.advertise_address;
    let addresses: Vec<String> =
        addresses.iter().filter(|a| a.is_ipv4() == own.is_ipv4()).map(IpAddr::to_string).collect();
    let port = json!({"name": "https", "port": server.config.advertise_port, "protocol": "TCP"});
    let listed: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": if listed.is_empty() { json!([]) } else { json!([{"addresses": listed, "ports": [port]}]) },
    });
    replace(server, "", "endpoints", endpoints).await?;
    let listed: Vec<Value> =
        addresses.iter().map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}})).collect();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": if own.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": listed,
        "ports": [port],
    });
    replace(server, "discovery.k8s.io", "endpointslices", slice).await
}
