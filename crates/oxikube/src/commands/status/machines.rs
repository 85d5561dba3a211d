//! The machines of an instance: what runs on each, and whether the masters among them are ready.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::concerns::Concern;
use crate::compose::{self, SeenMachine};
use crate::instance::Instance;
use crate::problem::Problem;

/// A master that does not answer in this time is not ready.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn report(instance: &Instance, api_port: u16) -> Result<Vec<Value>, Problem> {
    let machines = compose::machines_seen(instance)?;
    let reports = machines.iter().map(async |seen| {
        let parts: Map<String, Value> = seen.parts.iter().map(|(part, pid)| ((*part).to_owned(), json!(pid))).collect();
        let mut report = json!({"name": seen.machine.name, "address": seen.machine.address, "processes": parts});
        if seen.is_master {
            api::meta::put(&mut report, "api", api_server(instance, seen, api_port).await);
        }
        report
    });
    Ok(futures::future::join_all(reports).await)
}

/// `ok`, or why this master's API server is not ready.
async fn api_server(instance: &Instance, seen: &SeenMachine, port: u16) -> String {
    let asked = async {
        let server = format!("https://{}", SocketAddr::new(seen.machine.address.into(), port));
        let server = server.parse::<http::Uri>().map_err(|e| e.to_string())?;
        let client = client::connect::from_kubeconfig_to(&instance.kubeconfig(), server).await;
        let client = client.map_err(|e| e.to_string())?;
        super::ready(&client).await
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(())) => "ok".to_owned(),
        Ok(Err(why)) => why,
        Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
    }
}

/// What of the machines does not run.
pub(super) fn concerns(machines: &[Value]) -> Vec<Concern> {
    let mut concerns = Vec::new();
    for machine in machines {
        let what = format!("machine {}", api::meta::at(machine, "/name"));
        let processes = machine.get("processes").and_then(Value::as_object).into_iter().flatten();
        for (part, _) in processes.filter(|(_, pid)| pid.is_null()) {
            let why = format!("its process {part} is not there");
            concerns.push(Concern::new(&what, why, "the server starts it again; if that fails, its log says why"));
        }
        if let Some(why) = machine.get("api").and_then(Value::as_str).filter(|api| *api != "ok") {
            concerns.push(Concern::new(&what, format!("its API server is not ready: {why}"), ""));
        }
    }
    concerns
}

pub(super) fn print(report: &Value) {
    for machine in report.get("machines").and_then(Value::as_array).into_iter().flatten() {
        let processes = machine.get("processes").and_then(Value::as_object).into_iter().flatten();
        let processes: Vec<String> = processes
            .map(|(part, pid)| match pid.as_i64() {
                Some(pid) => format!("{part} {pid}"),
                None => format!("{part} is not there"),
            })
            .collect();
        let api = machine.get("api").and_then(Value::as_str).map(|api| format!(", API {api}")).unwrap_or_default();
        println!("machine     {}: {}{api}", api::meta::at(machine, "/name"), processes.join(", "));
    }
}
