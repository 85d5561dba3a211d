//! A cluster that has nothing to do.

use std::time::Duration;

use crate::failure::Failure;
use crate::figures::Bench;
use crate::processes::{pss, ticks};

pub(crate) const FIGURES: &[&str] = &["idle_pss_mib", "idle_cpu_percent"];

pub(crate) async fn measure(bench: &Bench) -> Result<(), Failure> {
    let (settle, watch) = if bench.quick { (2, 5) } else { (10, 20) };
    tokio::time::sleep(Duration::from_secs(settle)).await;
    let processes: Vec<i32> = bench.cluster.server().into_iter().chain(bench.cluster.shims()).collect();
    let busy = || processes.iter().map(|pid| ticks(*pid)).sum::<f64>();
    let before = busy();
    tokio::time::sleep(Duration::from_secs(watch)).await;
    // A tick is a hundredth of a second: ticks per second are per cent.
    bench.report.less("idle_cpu_percent", (busy() - before) / watch as f64, "%", Some(4.8));
    bench.report.less("idle_pss_mib", processes.iter().map(|pid| pss(*pid)).sum(), "MiB", Some(670.0));
    Ok(())
}
