//! The start of a pod on each container engine, side by side.

use std::path::Path;
use std::process::Command;

use tests::Engine;

use super::{Bench, give_up, pods};
use crate::Args;
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::report::{Report, median};

/// Engines that are processes of their own; the native one is measured with everything else.
const ENGINES: [(Engine, &str, &str); 2] =
    [(Engine::Containerd, "containerd", "pod_ready_containerd_ms"), (Engine::Docker, "dockerd", "pod_ready_docker_ms")];

/// Measures those that are installed, a cluster for each.
pub(crate) async fn measure(args: &Args, name: &str) -> Result<(), Failure> {
    for (engine, program, figure) in ENGINES {
        let report = Report::new(args.only.clone());
        if !report.wants(&[figure]) {
            continue;
        }
        let folders = std::env::var("PATH").unwrap_or_default();
        if !folders.split(':').any(|folder| Path::new(folder).join(program).exists()) {
            eprintln!("bench: {program} is not installed, {figure} is left out");
            continue;
        }
        one(args, &format!("{name}-{program}"), engine, figure, report).await?;
    }
    Ok(())
}

async fn one(args: &Args, name: &str, engine: Engine, figure: &str, report: Report) -> Result<(), Failure> {
    let place = std::env::temp_dir().join(format!("{name}-engine"));
    let daemon = tokio::task::spawn_blocking(move || engine.start(|program| Command::new(program), &place)).await;
    let daemon = daemon.map_err(|e| e.to_string())?.map_err(Failure::Other)?;
    let mut cluster = Cluster::new(&args.binary, name)?;
    cluster.endpoint = daemon.as_ref().map(|daemon| daemon.endpoint().to_owned());
    let measured = async {
        cluster.start()?;
        let api = cluster.api().await?;
        Ok::<_, Failure>(api)
    };
    let api = match measured.await {
        Ok(api) => api,
        Err(failure) => return give_up(cluster, failure).await,
    };
    let mut bench = Bench { cluster, api, report, quick: args.quick };
    match started(&bench, args, figure).await {
        Ok(()) => bench.cluster.purge().await,
        Err(failure) => give_up(bench.cluster, failure).await,
    }
}

async fn started(bench: &Bench, args: &Args, figure: &str) -> Result<(), Failure> {
    bench.furnished().await?;
    bench.cluster.oxikube(&["image", "import", &args.image.display().to_string()]).await?;
    let mut ready = Vec::new();
    for i in 0..if bench.quick { 3 } else { 10 } {
        ready.push(pods::one(bench, &format!("one-{i}")).await?.0);
    }
    bench.report.less(figure, median(&ready), "ms", Some(482.0));
    Ok(())
}
