//! `bench scheduling`: how many pods a second are decided on, by the scheduler's pure half alone.

use std::time::Instant;

use k8s_openapi::api::core::v1::{Node, Pod};
use scheduler::{Profile, World, place};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::report::Report;

/// How large the measured cluster is.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Nodes
    #[arg(long, default_value_t = 1000)]
    nodes: usize,
    /// Pods
    #[arg(long, default_value_t = 5000)]
    pods: usize,
}

/// Upstream's own floors (`scheduler_perf`, 5,000 nodes).
const PLAIN: f64 = 810.0;
const AFFINITY: f64 = 90.0;

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let report = Report::new(None);
    let selector = json!({"matchLabels": {"app": "a"}});
    let term = json!([{"topologyKey": "zone", "labelSelector": selector}]);
    let apart = json!([{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "lonely"}}}]);
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let spread = json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}]});
    for (figure, spec, floor) in [
        ("scheduled_per_second", json!({}), PLAIN),
        ("scheduled_affinity_per_second", json!({"affinity": {"podAffinity": {required: term}}}), AFFINITY),
        ("scheduled_anti_affinity_per_second", json!({"affinity": {"podAntiAffinity": {required: apart}}}), AFFINITY),
        ("scheduled_spread_per_second", spread, AFFINITY),
    ] {
        report.more(figure, rate(args, &spec)?, "pods/s", Some(floor));
    }
    Ok(())
}

fn rate(args: &Args, spec: &Value) -> Result<f64, Failure> {
    let nodes = (0..args.nodes).map(|i| node(i, args)).collect::<Result<Vec<Node>, _>>()?;
    let pods = (0..args.pods).map(|i| pod(i, spec)).collect::<Result<Vec<Pod>, _>>()?;
    let start = Instant::now();
    let places = place(pods, World { nodes, ..World::default() }, &Profile::default());
    let seconds = start.elapsed().as_secs_f64();
    match places.iter().flatten().count() {
        placed if placed == args.pods => Ok(args.pods as f64 / seconds),
        placed => Err(Failure::Other(format!("only {placed} of {} pods were placed", args.pods))),
    }
}

fn node(i: usize, args: &Args) -> Result<Node, serde_json::Error> {
    let name = format!("n{i}");
    let labels = json!({"zone": format!("z{}", i % 10), "kubernetes.io/hostname": name});
    let amounts = json!({"cpu": "64", "memory": "256Gi", "pods": args.pods.to_string()});
    serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}, "status": {"allocatable": amounts}}))
}

fn pod(i: usize, spec: &Value) -> Result<Pod, serde_json::Error> {
    let name = format!("p{i}");
    let mut all = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}]});
    if let (Some(all), Some(spec)) = (all.as_object_mut(), spec.as_object()) {
        all.extend(spec.clone());
    }
    let metadata = json!({"name": name, "namespace": "default", "uid": name, "labels": {"app": "a"}});
    serde_json::from_value(json!({"metadata": metadata, "spec": all}))
}
