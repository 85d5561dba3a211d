//! `oxikube server`: the whole cluster in one process, in the foreground.

use tokio_util::sync::CancellationToken;

use crate::cli::ServerArgs;
use crate::compose;
use crate::instance::{Instance, Running, claim_name};
use crate::master::Master;
use crate::problem::{During, Problem};
use crate::{logging, notify};

pub(crate) fn run(args: ServerArgs) -> Result<(), Problem> {
    logging::start(&args.log);
    let instance = Instance::new(&args.data.data_dir);
    let ownership = instance.own()?;
    let args = match Master::read(&instance)? {
        Some(master) => master.args(&args, &instance)?,
        None => args,
    };
    // What carries the name on a host is a node's.
    let _name = (!args.without_node).then(|| claim_name(&args.name)).transpose()?;
    instance.keep_name(&args.name)?;
    instance.keep_engine(&args.container_runtime_endpoint)?;
    let runtime = runtime()?;
    let running = Running {
        pid: std::process::id().cast_signed(),
        name: args.name.clone(),
        api_port: args.api_port,
        node: String::new(),
        started: jiff::Timestamp::now().as_second(),
    };
    let result = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        stop_by_signal(&shutdown);
        let started = |node| {
            ownership.record(&Running { node, ..running })?;
            notify::ready();
            Ok(())
        };
        compose::run(&args, &instance, shutdown, started).await
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    result?;
    ownership.release()
}

/// The runtime of a long-running command.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Problem> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(workers()).enable_all().build().during("cannot start")
}

/// Cancels on SIGTERM and SIGINT.
pub(crate) fn stop_by_signal(shutdown: &CancellationToken) {
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        if let Err(error) = stopped_by_signal().await {
            tracing::error!(%error, "signals cannot be watched");
        }
        shutdown.cancel();
    });
}

/// As many threads as cores, within reason: more cost memory and serve nobody on one machine.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 8))
}

async fn stopped_by_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
