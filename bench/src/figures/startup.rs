//! From nothing to ready, and from existing data to ready.

use std::time::Instant;

use hyper::Method;

use crate::api::Api;
use crate::cluster::{Cluster, until};
use crate::failure::Failure;
use crate::figures::objects;
use crate::report::{Report, median, since};

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases?fieldSelector=metadata.name=node-1";

/// Starts the cluster a few times; the last one stays.
pub(crate) async fn measure(cluster: &mut Cluster, report: &Report, quick: bool) -> Result<Api, Failure> {
    let mut times: [Vec<f64>; 4] = Default::default();
    let runs = if quick { 1 } else { 3 };
    for _ in 0..runs {
        cluster.purge().await?;
        let start = cluster.start()?;
        let api = ready(cluster).await?;
        let first = since(start);
        let mut nodes = api.watch("/api/v1/nodes").await?;
        nodes.until("the node is ready", |e| objects::condition(e, "Ready")).await?;
        let second = since(start);
        drop(nodes);
        let again = restart(cluster).await?;
        for (list, value) in times.iter_mut().zip([first, second, again.0, again.1]) {
            list.push(value);
        }
    }
    let [readyz, node, readyz_again, node_again] = times;
    report.less("readyz_ms", median(&readyz), "ms", Some(2700.0));
    report.less("node_ready_ms", median(&node), "ms", Some(3700.0));
    report.less("readyz_again_ms", median(&readyz_again), "ms", Some(2700.0));
    report.less("node_heartbeat_again_ms", median(&node_again), "ms", Some(3700.0));
    cluster.api().await
}

/// The same with existing data, where the node counts as back with its first new heartbeat.
async fn restart(cluster: &mut Cluster) -> Result<(f64, f64), Failure> {
    let api = cluster.api().await?;
    let lease = async |api: &Api| Ok::<_, Failure>(objects::text(&api.get(LEASE).await?, "/items/0/spec/renewTime"));
    until("the first heartbeat", async || {
        let renewed = lease(&api).await?;
        if renewed.is_empty() { Err(Failure::Other("no lease yet".into())) } else { Ok(()) }
    })
    .await?;
    cluster.stop().await?;
    let start = cluster.start()?;
    let api = ready(cluster).await?;
    let first = since(start);
    // What the lease says now was either written before the stop or already by the new server.
    let began = objects::now() - start.elapsed().as_secs_f64();
    let fresh = |e: &serde_json::Value| objects::seconds(&objects::text(e, "/object/spec/renewTime")) >= began;
    api.watch(LEASE).await?.until("a new heartbeat", fresh).await?;
    Ok((first, since(start)))
}

/// Returns when `/readyz` says ok.
async fn ready(cluster: &Cluster) -> Result<Api, Failure> {
    let api = cluster.api().await?;
    let end = Instant::now();
    until("/readyz", async || {
        let mut connection = api.connect().await?;
        connection.call(Method::GET, "/readyz", bytes::Bytes::new()).await
    })
    .await
    .map_err(|failure| Failure::Other(format!("{failure} after {} ms", since(end))))?;
    Ok(api)
}
