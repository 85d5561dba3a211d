//! Single pods and many at once.

use std::collections::HashSet;
use std::time::Instant;

use bytes::Bytes;
use hyper::Method;

use crate::api::Watch;
use crate::failure::Failure;
use crate::figures::{Bench, objects};
use crate::processes::pss;
use crate::report::{median, since};

pub(crate) const FIGURES: &[&str] =
    &["pod_ready_ms", "pod_gone_ms", "pods30_ready_ms", "pods30_gone_ms", "pod_pss_mib"];

const PODS: &str = "/api/v1/namespaces/default/pods";

pub(crate) async fn measure(bench: &Bench) -> Result<(), Failure> {
    let (mut ready, mut gone) = (Vec::new(), Vec::new());
    for i in 0..if bench.quick { 3 } else { 10 } {
        let times = one(bench, &format!("one-{i}")).await?;
        ready.push(times.0);
        gone.push(times.1);
    }
    bench.report.less("pod_ready_ms", median(&ready), "ms", Some(482.0));
    bench.report.less("pod_gone_ms", median(&gone), "ms", Some(527.0));
    many(bench, 30).await
}

pub(crate) async fn one(bench: &Bench, name: &str) -> Result<(f64, f64), Failure> {
    let mut connection = bench.api.connect().await?;
    let mut watch = bench.api.watch(&format!("{PODS}?fieldSelector=metadata.name={name}")).await?;
    let body = Bytes::from(serde_json::to_vec(&objects::pod(name))?);
    let start = Instant::now();
    connection.call(Method::POST, PODS, body).await?;
    watch.until("the pod is ready", |e| objects::condition(e, "Ready")).await?;
    let ready = since(start);
    let start = Instant::now();
    connection.call(Method::DELETE, &format!("{PODS}/{name}"), Bytes::new()).await?;
    watch.until("the pod is gone", objects::deleted).await?;
    Ok((ready, since(start)))
}

async fn many(bench: &Bench, count: usize) -> Result<(), Failure> {
    let names: Vec<String> = (0..count).map(|i| format!("many-{i}")).collect();
    let mut watch = bench.api.watch(PODS).await?;
    let start = Instant::now();
    each(bench, &names, Method::POST).await?;
    all(&mut watch, count, |e| objects::condition(e, "Ready")).await?;
    bench.report.less(&format!("pods{count}_ready_ms"), since(start), "ms", Some(3600.0));
    let shims: f64 = bench.cluster.shims().into_iter().map(pss).sum();
    bench.report.less("pod_pss_mib", shims / count as f64, "MiB", Some(4.0));
    let start = Instant::now();
    each(bench, &names, Method::DELETE).await?;
    all(&mut watch, count, objects::deleted).await?;
    bench.report.less(&format!("pods{count}_gone_ms"), since(start), "ms", None);
    Ok(())
}

/// One request a pod, all at the same time.
async fn each(bench: &Bench, names: &[String], method: Method) -> Result<(), Failure> {
    let mut requests = tokio::task::JoinSet::new();
    for name in names {
        let (api, name, method) = (bench.api.clone(), name.clone(), method.clone());
        requests.spawn(async move {
            match method {
                Method::POST => api.send(method, PODS, &objects::pod(&name)).await,
                _ => api.send(method, &format!("{PODS}/{name}"), &serde_json::Value::Null).await,
            }
        });
    }
    while let Some(done) = requests.join_next().await {
        done.map_err(|e| e.to_string())??;
    }
    Ok(())
}

/// Waits until that many different pods have got there.
async fn all(watch: &mut Watch, count: usize, wanted: impl Fn(&serde_json::Value) -> bool) -> Result<(), Failure> {
    let mut there = HashSet::new();
    watch
        .until("all pods", |event| {
            if wanted(event) {
                there.insert(objects::text(event, "/object/metadata/name"));
            }
            there.len() == count
        })
        .await
}
