//! `oxikube status`

use clap::Args;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Node, Pod, Service};
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

mod concerns;
mod host;
mod leaders;
mod machines;
mod text;

use crate::certificates;
use crate::cli::DataDir;
use crate::instance::{Instance, Running, State};
use crate::problem::Problem;
use concerns::Concern;

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
        text::print(&report);
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
    let machines = machines::report(instance, running.api_port).await?;
    let mut concerns = machines::concerns(&machines);
    api::meta::put(&mut report, "machines", machines);
    if state == "running" {
        cluster(instance, &running, &mut report, &mut concerns).await;
    }
    let certificates = certificates::all(instance);
    concerns.extend(certificates.iter().filter_map(|c| concerns::certificate(&c.file, c.days_left)));
    api::meta::put(&mut report, "certificates", json!(certificates));
    let free = host::free_percent(instance.root());
    concerns.extend(free.and_then(|percent| concerns::disk(percent, &root)));
    api::meta::put(&mut report, "diskFreePercent", json!(free));
    api::meta::put(&mut report, "concerns", json!(concerns));
    Ok(report)
}

/// What the API tells, into the report.
async fn cluster(instance: &Instance, running: &Running, report: &mut Value, concerns: &mut Vec<Concern>) {
    let seen = seen(instance).await;
    let roles = ["apiserver", "scheduler", "controller-manager", "kubelet", "proxy", "dns", "gateway"];
    let role = |role: &&str| json!({"role": role, "pid": running.pid, "healthy": seen.is_ok()});
    api::meta::put(report, "roles", roles.iter().map(role).collect::<Vec<_>>());
    let seen = match seen {
        Ok(seen) => seen,
        Err(why) => {
            let log = instance.path("logs/server.log");
            concerns.insert(0, Concern::new("API server", &why, format!("see {}", log.display())));
            return api::meta::put(report, "health", json!({"api": why}));
        }
    };
    let now = jiff::Timestamp::now();
    let server = if running.node.is_empty() { "the server" } else { &running.node };
    let leaders = leaders::of(&seen.leases, server, now);
    concerns.extend(leaders.iter().filter_map(concerns::leader));
    concerns.extend(seen.nodes.iter().filter_map(|node| concerns::node(node, now)));
    concerns.extend(seen.pods.iter().filter_map(|pod| concerns::pod(pod, &seen.warnings, now)));
    api::meta::put(report, "leaders", json!(leaders));
    api::meta::put(report, "health", seen.health());
    api::meta::put(report, "store", store(instance, &seen.store, concerns));
}

/// How the store is, as far as it can be seen from here.
fn store(instance: &Instance, health: &str, concerns: &mut Vec<Concern>) -> Value {
    if health != "ok" {
        concerns.insert(0, Concern::new("store", health, "nothing is written until it is well; see its own logs"));
    }
    match host::size(&instance.path("store")) {
        0 => json!({"engine": "etcd", "health": health}),
        bytes => json!({"engine": "embedded", "health": health, "bytes": bytes}),
    }
}

/// What the API tells.
struct Seen {
    nodes: Vec<Node>,
    pods: Vec<Pod>,
    services: Vec<Service>,
    /// Those of `kube-system`.
    leases: Vec<Lease>,
    warnings: Vec<Event>,
    /// `ok`, or what is wrong with the store.
    store: String,
}

/// Looks at the cluster, or says why that is not possible.
async fn seen(instance: &Instance) -> Result<Seen, String> {
    let client = client::connect::from_kubeconfig(&instance.kubeconfig()).await.map_err(|_| "no kubeconfig")?;
    ready(&client).await?;
    let all = ListParams::default();
    let warnings = ListParams::default().fields("type=Warning");
    let (nodes, pods, services) = (Api::all(client.clone()), Api::all(client.clone()), Api::all(client.clone()));
    let (leases, events) = (Api::namespaced(client.clone(), "kube-system"), Api::all(client.clone()));
    let lists = futures::try_join!(
        nodes.list(&all),
        pods.list(&all),
        services.list(&all),
        leases.list(&all),
        events.list(&warnings)
    );
    let (nodes, pods, services, leases, warnings) = lists.map_err(|error| with_causes(&error))?;
    let store = match checked(&client, "/readyz/etcd").await {
        Ok(()) => "ok".to_owned(),
        Err(why) => why,
    };
    Ok(Seen {
        nodes: nodes.items,
        pods: pods.items,
        services: services.items,
        leases: leases.items,
        warnings: warnings.items,
        store,
    })
}

impl Seen {
    fn health(&self) -> Value {
        let node = |node: &Node| json!({"name": node.metadata.name, "ready": super::up::is_ready(node), "address": address(node), "roles": roles(node)});
        json!({
            "api": "ok", "nodes": self.nodes.iter().map(node).collect::<Vec<_>>(),
            "pods": self.pods.iter().map(pod_line).collect::<Vec<_>>(),
            "services": self.services.iter().map(service_line).collect::<Vec<_>>(),
        })
    }
}

/// What a node is for, by its labels.
fn roles(node: &Node) -> Vec<&str> {
    let labels = node.metadata.labels.iter().flat_map(|labels| labels.keys());
    labels.filter_map(|label| label.strip_prefix("node-role.kubernetes.io/")).collect()
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
    checked(client, "/readyz").await
}

/// Whether a health check passes.
async fn checked(client: &kube::Client, path: &str) -> Result<(), String> {
    let request = http::Request::get(path).body(Vec::new()).map_err(|e| e.to_string())?;
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
