//! `oxikube status`

use clap::Args;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::Api;
use serde_json::{Value, json};

mod machines;

use crate::cli::DataDir;
use crate::instance::{Instance, State};
use crate::problem::Problem;

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    data: DataDir,
    /// Output: text or json
    #[arg(short = 'o', long, default_value = "text", value_parser = ["text", "json"])]
    output: String,
}

pub(crate) async fn run(args: &StatusArgs) -> Result<(), Problem> {
    let instance = Instance::new(&args.data.data_dir);
    let report = report(&instance).await?;
    if args.output == "json" {
        println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
    } else {
        print_text(&report);
    }
    if report.get("state").is_some_and(|s| s == "running") { Ok(()) } else { Err(not_running(&report)) }
}

fn not_running(report: &Value) -> Problem {
    match report.get("state").and_then(Value::as_str) {
        Some("crashed") => {
            Problem::new("the server ended without being stopped; 'oxikube up' brings it back, and DIR/logs says why")
        }
        _ => Problem::new("the server does not run; start it with 'oxikube up'"),
    }
}

async fn report(instance: &Instance) -> Result<Value, Problem> {
    let root = instance.root().display().to_string();
    let (state, running) = match instance.state()? {
        State::Up(running) => ("running", running),
        State::Crashed(running) => ("crashed", running),
        State::Stopped => return Ok(json!({"state": "stopped", "dataDir": root})),
    };
    let mut report = json!({
        "state": state, "dataDir": root, "name": running.name, "pid": running.pid, "apiPort": running.api_port,
        "started": running.started, "kubeconfig": instance.kubeconfig(),
    });
    api::meta::put(&mut report, "machines", machines::report(instance, running.api_port).await?);
    if state == "running" {
        let health = health(instance).await;
        let roles = ["apiserver", "scheduler", "controller-manager", "kubelet", "proxy", "dns"];
        let healthy = health.get("api").is_some_and(|a| a == "ok");
        let roles: Vec<Value> =
            roles.iter().map(|role| json!({"role": role, "pid": running.pid, "healthy": healthy})).collect();
        api::meta::put(&mut report, "health", health);
        api::meta::put(&mut report, "roles", roles);
    }
    Ok(report)
}

/// What the API says of itself, the node and its pods.
async fn health(instance: &Instance) -> Value {
    let Ok(client) = client::connect::from_kubeconfig(&instance.kubeconfig()).await else {
        return json!({"api": "no kubeconfig"});
    };
    let ready = match ready(&client).await {
        Ok(()) => "ok".to_owned(),
        Err(error) => return json!({"api": error}),
    };
    let nodes = Api::<Node>::all(client.clone()).list(&kube::api::ListParams::default()).await;
    let services = Api::<Service>::all(client.clone()).list(&kube::api::ListParams::default()).await;
    let pods = Api::<Pod>::all(client).list(&kube::api::ListParams::default()).await;
    let nodes: Vec<Value> = nodes
        .map(|list| list.items)
        .unwrap_or_default()
        .iter()
        .map(|n| json!({"name": n.metadata.name, "ready": super::up::is_ready(n), "address": address(n)}))
        .collect();
    let pods = pods.map(|list| list.items).unwrap_or_default();
    let services = services.map(|list| list.items).unwrap_or_default();
    json!({
        "api": ready, "nodes": nodes, "pods": pods.iter().map(pod_line).collect::<Vec<_>>(),
        "services": services.iter().map(service_line).collect::<Vec<_>>(),
    })
}

fn address(node: &Node) -> Option<&str> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    addresses.iter().find(|a| a.type_ == "InternalIP").map(|a| a.address.as_str())
}

fn pod_line(pod: &Pod) -> Value {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|s| s.conditions.as_ref()).into_iter().flatten();
    let ready = conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True");
    json!({
        "namespace": pod.metadata.namespace, "name": pod.metadata.name, "ready": ready,
        "phase": status.and_then(|s| s.phase.as_ref()), "ip": status.and_then(|s| s.pod_ip.as_ref()),
    })
}

fn service_line(service: &Service) -> Value {
    let spec = service.spec.as_ref();
    let ports = spec.and_then(|s| s.ports.as_ref()).into_iter().flatten();
    let ports: Vec<Value> = ports.map(|p| json!({"port": p.port, "nodePort": p.node_port})).collect();
    json!({
        "namespace": service.metadata.namespace, "name": service.metadata.name,
        "clusterIP": spec.and_then(|s| s.cluster_ip.as_ref()), "ports": ports,
    })
}

/// Whether `/readyz` says ok.
async fn ready(client: &kube::Client) -> Result<(), String> {
    let request = http::Request::get("/readyz").body(Vec::new()).map_err(|e| e.to_string())?;
    match client.request_text(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(failing(&status.message)),
        Err(error) => Err(with_causes(&error)),
    }
}

/// An error of a connection says little; its causes do.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source()).map(ToString::to_string);
    causes.last().unwrap_or_else(|| error.to_string())
}

/// Of what `/readyz` answers, the checks that failed.
fn failing(answer: &str) -> String {
    let failed: Vec<&str> = answer.lines().filter_map(|line| line.strip_prefix("[-]")).collect();
    if failed.is_empty() { answer.to_owned() } else { failed.join("; ") }
}

fn print_text(report: &Value) {
    let text = |pointer: &str| match report.pointer(pointer) {
        Some(Value::String(s)) => s.clone(),
        Some(other) => other.to_string(),
        None => "-".into(),
    };
    println!("state       {}", text("/state"));
    println!("data        {}", text("/dataDir"));
    if report.get("pid").is_none() {
        return;
    }
    println!("process     {}", text("/pid"));
    println!("api         https://127.0.0.1:{} ({})", text("/apiPort"), text("/health/api"));
    println!("kubeconfig  {}", text("/kubeconfig"));
    machines::print(report);
    for node in report.pointer("/health/nodes").and_then(Value::as_array).into_iter().flatten() {
        let ready = if node.get("ready").is_some_and(|r| r == true) { "Ready" } else { "NotReady" };
        println!("node        {} {ready} {}", api::meta::at(node, "/name"), api::meta::at(node, "/address"));
    }
    for pod in report.pointer("/health/pods").and_then(Value::as_array).into_iter().flatten() {
        let ready = if pod.get("ready").is_some_and(|r| r == true) { "ready" } else { "not ready" };
        let at = |p: &str| api::meta::at(pod, p).to_owned();
        println!("pod         {}/{} {} {ready} {}", at("/namespace"), at("/name"), at("/phase"), at("/ip"));
    }
    for service in report.pointer("/health/services").and_then(Value::as_array).into_iter().flatten() {
        let at = |p: &str| api::meta::at(service, p);
        println!("service     {}/{} {} {}", at("/namespace"), at("/name"), at("/clusterIP"), ports(service));
    }
}

/// `80:30080,443`
fn ports(service: &Value) -> String {
    let list = service.get("ports").and_then(Value::as_array).into_iter().flatten();
    let texts =
        list.map(|p| match (p.get("port").and_then(Value::as_i64), p.get("nodePort").and_then(Value::as_i64)) {
            (Some(port), Some(node)) => format!("{port}:{node}"),
            (port, _) => port.unwrap_or_default().to_string(),
        });
    texts.collect::<Vec<_>>().join(",")
}
