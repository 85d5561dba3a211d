//! A cluster of three machines on one, made for these figures alone.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::Args;
use crate::cluster::{Cluster, until};
use crate::failure::Failure;
use crate::figures::objects;
use crate::processes::pss;
use crate::report::{Report, since};

pub(crate) const FIGURES: &[&str] = &["nodes3_ready_ms", "worker_pss_mib", "node_loss_replaced_ms"];

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const PODS: &str = "/api/v1/namespaces/default/pods";
const NAME: &str = "roaming";
/// How long a node may be silent; part of the figure of a lost node.
const GRACE: &str = "--node-monitor-grace-period=5s";

pub(crate) async fn measure(args: &Args, name: &str, report: &Report) -> Result<(), Failure> {
    let name = format!("{name}n");
    let mut cluster = Cluster::new(&args.binary, &name)?;
    match figures(&mut cluster, args, &name, report).await {
        Ok(()) => cluster.purge().await,
        Err(failure) => super::give_up(cluster, failure).await,
    }
}

async fn figures(cluster: &mut Cluster, args: &Args, name: &str, report: &Report) -> Result<(), Failure> {
    let start = cluster.start_with(&["--nodes=3", GRACE])?;
    let api = cluster.api().await?;
    let mut nodes = until("the API", async || api.watch("/api/v1/nodes").await).await?;
    let mut ready = HashSet::new();
    let all = |event: &Value| {
        if objects::condition(event, "Ready") {
            ready.insert(objects::text(event, "/object/metadata/name"));
        }
        ready.len() == 3
    };
    nodes.until("three nodes are ready", all).await?;
    report.less("nodes3_ready_ms", since(start), "ms", None);
    cluster.oxikube(&["image", "import", &args.image.display().to_string()]).await?;
    tokio::time::sleep(Duration::from_secs(if args.quick { 2 } else { 10 })).await;
    report.less("worker_pss_mib", pss(cluster.machine_process(&format!("{name}-1"))?), "MiB", None);

    // A pod that may not be on the machine whose network is not to be cut.
    let mut deployment = objects::deployment(NAME, 1, None);
    let elsewhere = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["node-1"]}]}]}}});
    let leave = json!([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
        "tolerationSeconds": 0}]);
    if let Some(spec) = deployment.pointer_mut("/spec/template/spec").and_then(Value::as_object_mut) {
        spec.insert("affinity".into(), elsewhere);
        spec.insert("tolerations".into(), leave);
    }
    let mut pods = api.watch(PODS).await?;
    api.send(Method::POST, DEPLOYMENTS, &deployment).await?;
    let (mut first, mut machine) = (String::new(), String::new());
    let running = |event: &Value| {
        first = objects::text(event, "/object/metadata/name");
        machine = objects::text(event, "/object/spec/nodeName");
        objects::condition(event, "Ready")
    };
    pods.until("the pod is ready", running).await?;
    let start = Instant::now();
    let cut = Command::new("ip").args(["link", "set", &machine, "down"]).status().await?;
    if !cut.success() {
        return Err(Failure::Other(format!("{machine} could not be cut off")));
    }
    let replaced =
        |event: &Value| objects::text(event, "/object/metadata/name") != first && objects::condition(event, "Ready");
    pods.until("the pod's replacement is ready", replaced).await?;
    report.less("node_loss_replaced_ms", since(start), "ms", None);
    Ok(())
}
