//! Deployments and the Services in front of them.

use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::until;
use crate::failure::Failure;
use crate::figures::{Bench, objects};
use crate::report::{median, since};

pub(crate) const FIGURES: &[&str] = &["apply_to_cluster_ip_ms", "deployment10_available_ms", "rollout_undo_ms"];

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const SERVICES: &str = "/api/v1/namespaces/default/services";

pub(crate) async fn measure(bench: &Bench) -> Result<(), Failure> {
    let mut times = Vec::new();
    for i in 0..if bench.quick { 1 } else { 5 } {
        times.push(apply(bench, &format!("web-{i}")).await?);
    }
    bench.report.less("apply_to_cluster_ip_ms", median(&times), "ms", Some(1130.0));
    ten(bench).await?;
    undo(bench).await
}

async fn apply(bench: &Bench, name: &str) -> Result<f64, Failure> {
    let start = Instant::now();
    bench.api.send(Method::POST, DEPLOYMENTS, &objects::deployment(name, 1, None)).await?;
    let service = bench.api.send(Method::POST, SERVICES, &objects::service(name)).await?;
    let address = objects::text(&service, "/spec/clusterIP");
    until("the cluster IP answers", async || page(&address).await).await?;
    let time = since(start);
    remove(bench, name).await?;
    Ok(time)
}

async fn ten(bench: &Bench) -> Result<(), Failure> {
    let mut watch = bench.api.watch(&format!("{DEPLOYMENTS}?fieldSelector=metadata.name=ten")).await?;
    let start = Instant::now();
    bench.api.send(Method::POST, DEPLOYMENTS, &objects::deployment("ten", 10, None)).await?;
    let available = |e: &Value| e.pointer("/object/status/availableReplicas").and_then(Value::as_u64) == Some(10);
    watch.until("ten replicas are available", available).await?;
    bench.report.less("deployment10_available_ms", since(start), "ms", Some(1500.0));
    bench.api.send(Method::DELETE, &format!("{DEPLOYMENTS}/ten"), &Value::Null).await?;
    Ok(())
}

/// Back to the old template, as `kubectl rollout undo` patches it in, until only the old page is served.
async fn undo(bench: &Bench) -> Result<(), Failure> {
    let path = format!("{DEPLOYMENTS}/story");
    bench.api.send(Method::POST, DEPLOYMENTS, &objects::deployment("story", 3, Some("old"))).await?;
    let service = bench.api.send(Method::POST, SERVICES, &objects::service("story")).await?;
    let address = objects::text(&service, "/spec/clusterIP");
    until("the old page", async || serves(&address, "old").await).await?;
    let version = |page: &str| json!({"spec": {"template": objects::template("story", Some(page))}});
    bench.api.send(Method::PATCH, &path, &version("new")).await?;
    until("the new page", async || serves(&address, "new").await).await?;
    let start = Instant::now();
    bench.api.send(Method::PATCH, &path, &version("old")).await?;
    until("the old page again", async || serves(&address, "old").await).await?;
    bench.report.less("rollout_undo_ms", since(start), "ms", None);
    remove(bench, "story").await
}

async fn remove(bench: &Bench, name: &str) -> Result<(), Failure> {
    for collection in [DEPLOYMENTS, SERVICES] {
        bench.api.send(Method::DELETE, &format!("{collection}/{name}"), &Value::Null).await?;
    }
    Ok(())
}

/// Whether ten requests in a row all give that page.
async fn serves(address: &str, wanted: &str) -> Result<(), Failure> {
    for _ in 0..10 {
        let body = page(address).await?;
        if body.trim() != wanted {
            return Err(Failure::Other(format!("{body} is served")));
        }
    }
    Ok(())
}

async fn page(address: &str) -> Result<String, Failure> {
    let request = async {
        let mut stream = TcpStream::connect((address, 80)).await?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.contains(" 200 ") => Ok(body.to_owned()),
            _ => Err(Failure::Other("no page".into())),
        }
    };
    // A packet lost while rules change must not cost a second of retransmission.
    let late = |_| Failure::Late("the page".into());
    tokio::time::timeout(Duration::from_millis(100), request).await.map_err(late)?
}
