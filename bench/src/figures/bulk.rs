//! Many objects: how long a list takes, how much memory they need.

use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::figures::{Bench, objects, writes};
use crate::processes::pss;
use crate::report::{median, since};

pub(crate) const FIGURES: &[&str] = &["list_10000_pods_ms", "list_10000_pods_mb", "pods_30000_pss_mib"];

const PODS: &str = "/api/v1/namespaces/default/pods";

pub(crate) async fn measure(bench: &Bench) -> Result<(), Failure> {
    let (few, many) = if bench.quick { (1_000, 3_000) } else { (10_000, 30_000) };
    writes::fill(bench, PODS, 0..few, objects::filler).await?;
    let mut connection = bench.api.connect().await?;
    let (mut times, mut bytes) = (Vec::new(), 0);
    for _ in 0..5 {
        let start = Instant::now();
        bytes = connection.count(PODS).await?;
        times.push(since(start));
    }
    bench.report.less(&format!("list_{few}_pods_ms"), median(&times), "ms", (few == 10_000).then_some(447.0));
    bench.report.less(&format!("list_{few}_pods_mb"), bytes as f64 / 1e6, "MB", (few == 10_000).then_some(33.0));
    writes::fill(bench, PODS, few..many, objects::filler).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let memory = bench.cluster.server().map_or(0.0, pss);
    let upstream = (many == 30_000).then_some(1370.0 + 197.0);
    bench.report.less(&format!("pods_{many}_pss_mib"), memory, "MiB", upstream);
    Ok(())
}
