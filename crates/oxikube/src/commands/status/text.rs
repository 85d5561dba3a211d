//! A report as text for people.

use serde_json::Value;

use super::machines;

/// Lines of a kind that are shown; a cluster at a glance is no list of its objects.
const SHOWN: usize = 10;

pub(super) fn print(report: &Value) {
    let text = |pointer: &str| match report.pointer(pointer) {
        Some(Value::String(s)) => s.clone(),
        Some(other) => other.to_string(),
        None => "-".into(),
    };
    println!("state       {}{}", text("/state"), verdict(report));
    println!("data        {}", text("/dataDir"));
    if report.get("pid").is_none() {
        return;
    }
    println!("process     {}", text("/pid"));
    println!("api         https://127.0.0.1:{} ({})", text("/apiPort"), text("/health/api"));
    println!("kubeconfig  {}", text("/kubeconfig"));
    if let Some(store) = report.get("store") {
        let size = store.get("bytes").and_then(Value::as_u64).map(|bytes| format!(", {} MiB", bytes.div_ceil(1 << 20)));
        let health = store.get("health").and_then(Value::as_str).map(|health| format!(", {health}"));
        println!(
            "store       {}{}{}",
            api::meta::at(store, "/engine"),
            health.unwrap_or_default(),
            size.unwrap_or_default()
        );
    }
    for leader in list(report, "/leaders") {
        let leads = leader.get("leads").is_some_and(|leads| leads == true);
        let holder = api::meta::at(leader, "/holder");
        let holder = if leads { holder.to_owned() } else { format!("nobody ({holder} was the last)") };
        println!("leader      {} {holder}", api::meta::at(leader, "/role"));
    }
    if let Some(first) = list(report, "/certificates").next() {
        let days = first.get("daysLeft").and_then(Value::as_i64).unwrap_or_default();
        println!("certs       good for {days} days (the first to end: {})", api::meta::at(first, "/file"));
    }
    machines::print(report);
    objects(report);
    concerns(report);
}

fn list<'a>(report: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    report.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn verdict(report: &Value) -> String {
    match report.get("concerns").and_then(Value::as_array).map(Vec::len) {
        None => String::new(),
        Some(0) => ", all is well".to_owned(),
        Some(1) => ", but one thing is not well: see below".to_owned(),
        Some(count) => format!(", but {count} things are not well: see below"),
    }
}

fn objects(report: &Value) {
    let ready = |object: &Value| object.get("ready").is_some_and(|ready| ready == true);
    for node in list(report, "/health/nodes") {
        let state = if ready(node) { "Ready" } else { "NotReady" };
        let roles: Vec<&str> = list(node, "/roles").filter_map(Value::as_str).collect();
        let at = |pointer: &str| api::meta::at(node, pointer);
        println!("node        {} {state} {} {}", at("/name"), at("/address"), roles.join(","));
    }
    let pods: Vec<String> = list(report, "/health/pods")
        .map(|pod| {
            let at = |pointer: &str| api::meta::at(pod, pointer);
            let state = if ready(pod) { "ready" } else { "not ready" };
            format!("pod         {}/{} {} {state} {}", at("/namespace"), at("/name"), at("/phase"), at("/ip"))
        })
        .collect();
    some(&pods, "pod", "pods");
    let services: Vec<String> = list(report, "/health/services")
        .map(|service| {
            let at = |pointer: &str| api::meta::at(service, pointer);
            format!("service     {}/{} {} {}", at("/namespace"), at("/name"), at("/clusterIP"), ports(service))
        })
        .collect();
    some(&services, "service", "services");
}

fn some(lines: &[String], one: &str, many: &str) {
    for line in lines.iter().take(SHOWN) {
        println!("{line}");
    }
    let more = lines.len().saturating_sub(SHOWN);
    if more > 0 {
        println!("{one:<11} and {more} more: kubectl get {many} -A");
    }
}

fn concerns(report: &Value) {
    let all: Vec<&Value> = list(report, "/concerns").collect();
    for concern in all.iter().take(SHOWN) {
        let at = |pointer: &str| api::meta::at(concern, pointer);
        println!("not well    {}: {}", at("/what"), at("/why"));
        if !at("/remedy").is_empty() {
            println!("            what to do: {}", at("/remedy"));
        }
    }
    let more = all.len().saturating_sub(SHOWN);
    if more > 0 {
        println!("not well    and {more} more: oxikube status -o json");
    }
}

/// `80:30080,443`
fn ports(service: &Value) -> String {
    let texts = list(service, "/ports").map(|p| {
        match (p.get("port").and_then(Value::as_i64), p.get("nodePort").and_then(Value::as_i64)) {
            (Some(port), Some(node)) => format!("{port}:{node}"),
            (port, _) => port.unwrap_or_default().to_string(),
        }
    });
    texts.collect::<Vec<_>>().join(",")
}
