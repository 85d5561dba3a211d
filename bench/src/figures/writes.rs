//! Durable writes at 32 clients over TLS.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};

use crate::api::Connection;
use crate::failure::Failure;
use crate::figures::{Bench, objects};

pub(crate) const FIGURES: &[&str] =
    &["create_per_second", "update_per_second", "patch_per_second", "get_per_second", "delete_per_second"];

const CLIENTS: usize = 32;
const MAPS: &str = "/api/v1/namespaces/bench/configmaps";

#[derive(Clone, Copy)]
enum Phase {
    Create,
    Update,
    Patch,
    Get,
    Delete,
}

pub(crate) async fn measure(bench: &Bench) -> Result<(), Failure> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bench"}});
    bench.api.send(Method::POST, "/api/v1/namespaces", &namespace).await?;
    let count = if bench.quick { 3_200 } else { 16_000 };
    let mut clients = Vec::new();
    for i in 0..CLIENTS {
        let names = (i..count).step_by(CLIENTS).map(|n| (format!("map-{n}"), String::new())).collect();
        clients.push(Client { connection: bench.api.connect().await?, objects: names });
    }
    for (phase, figure, upstream) in [
        (Phase::Create, "create_per_second", 1529.0),
        (Phase::Update, "update_per_second", 1260.0),
        (Phase::Patch, "patch_per_second", 1202.0),
        (Phase::Get, "get_per_second", 2882.0),
        (Phase::Delete, "delete_per_second", 1694.0),
    ] {
        let start = Instant::now();
        clients = run(clients, phase).await?;
        let rate = count as f64 / start.elapsed().as_secs_f64();
        bench.report.more(figure, rate, "ops/s", Some(upstream));
    }
    Ok(())
}

/// One keep-alive connection and the objects that it works on, with their resource versions.
struct Client {
    connection: Connection,
    objects: Vec<(String, String)>,
}

async fn run(clients: Vec<Client>, phase: Phase) -> Result<Vec<Client>, Failure> {
    let mut tasks = tokio::task::JoinSet::new();
    for mut client in clients {
        tasks.spawn(async move { client.run(phase).await.map(|()| client) });
    }
    let mut done = Vec::new();
    while let Some(client) = tasks.join_next().await {
        done.push(client.map_err(|e| e.to_string())??);
    }
    Ok(done)
}

impl Client {
    async fn run(&mut self, phase: Phase) -> Result<(), Failure> {
        for (name, version) in &mut self.objects {
            let path = format!("{MAPS}/{name}");
            let answer = match phase {
                Phase::Create => {
                    let body = bytes(&objects::config_map(name, 'a'))?;
                    self.connection.call(Method::POST, MAPS, body).await?
                }
                Phase::Update => {
                    let mut map = objects::config_map(name, 'b');
                    if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
                        metadata.insert("resourceVersion".into(), json!(version));
                    }
                    self.connection.call(Method::PUT, &path, bytes(&map)?).await?
                }
                Phase::Patch => {
                    let patch = json!({"data": {"payload": "c".repeat(1024)}});
                    self.connection.call(Method::PATCH, &path, bytes(&patch)?).await?
                }
                Phase::Get => self.connection.call(Method::GET, &path, Bytes::new()).await?,
                Phase::Delete => self.connection.call(Method::DELETE, &path, Bytes::new()).await?,
            };
            *version = resource_version(&answer).unwrap_or_default();
        }
        Ok(())
    }
}

fn bytes(value: &Value) -> Result<Bytes, Failure> {
    Ok(Bytes::from(serde_json::to_vec(value)?))
}

/// Found without reading the whole object, so that the client costs little.
fn resource_version(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("\"resourceVersion\":\"")?;
    rest.split('"').next().map(str::to_owned)
}

/// Creates objects over several connections.
pub(crate) async fn fill(
    bench: &Bench,
    collection: &'static str,
    range: std::ops::Range<usize>,
    make: fn(&str) -> Value,
) -> Result<(), Failure> {
    let mut tasks = tokio::task::JoinSet::new();
    let range = Arc::new(range);
    for i in 0..CLIENTS {
        let (mut connection, range) = (bench.api.connect().await?, range.clone());
        tasks.spawn(async move {
            for n in (range.start + i..range.end).step_by(CLIENTS) {
                connection.call(Method::POST, collection, bytes(&make(&format!("filler-{n}")))?).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(|e| e.to_string())??;
    }
    Ok(())
}
