//! How soon a container whose process was killed runs again.

use std::time::{Duration, Instant};

use hyper::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cluster::until;
use crate::failure::Failure;
use crate::figures::{Bench, objects};
use crate::processes::with_arguments;
use crate::report::{maximum, median, since};

pub(crate) const FIGURES: &[&str] = &["container_restart_ms", "container_restart_max_ms"];

const PODS: &str = "/api/v1/namespaces/default/pods";

pub(crate) async fn measure(bench: &Bench) -> Result<(), Failure> {
    let count: u32 = if bench.quick { 3 } else { 10 };
    // Seconds to sleep that nobody else would think of.
    let marks: Vec<String> = (0..count).map(|i| format!("{}", 71_000_000 + std::process::id() * 10 + i)).collect();
    for mark in &marks {
        bench.api.send(Method::POST, PODS, &objects::sleeper(&format!("sleep-{mark}"), mark)).await?;
    }
    for mark in &marks {
        until("the process runs", async || process(mark, None)).await?;
    }
    // Only after a stable run there is no back-off.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut times = Vec::new();
    for mark in &marks {
        let old = process(mark, None)?;
        let start = Instant::now();
        kill(Pid::from_raw(old), Signal::SIGKILL).map_err(std::io::Error::from)?;
        until("the process runs again", async || process(mark, Some(old))).await?;
        times.push(since(start));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    bench.report.less("container_restart_ms", median(&times), "ms", Some(500.0));
    bench.report.less("container_restart_max_ms", maximum(&times), "ms", None);
    for mark in &marks {
        bench.api.send(Method::DELETE, &format!("{PODS}/sleep-{mark}"), &serde_json::Value::Null).await?;
    }
    Ok(())
}

fn process(mark: &str, not: Option<i32>) -> Result<i32, Failure> {
    let found = with_arguments(&["sleep", mark]).into_iter().find(|pid| Some(*pid) != not);
    found.ok_or_else(|| Failure::Other(format!("no process sleeps {mark}")))
}
