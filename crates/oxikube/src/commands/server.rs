//! `oxikube server`: the whole cluster in one process, in the foreground.

use tokio_util::sync::CancellationToken;

use crate::cli::ServerArgs;
use crate::compose;
use crate::instance::{Instance, Running};
use crate::problem::{During, Problem};

pub(crate) fn run(args: ServerArgs) -> Result<(), Problem> {
    log(&args);
    let instance = Instance::new(&args.data.data_dir);
    let ownership = instance.own()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .enable_all()
        .build()
        .during("cannot start")?;
    let running = Running {
        pid: std::process::id().cast_signed(),
        name: args.name.clone(),
        api_port: args.api_port,
        node: compose::node_name(&args)?,
        started: jiff::Timestamp::now().as_second(),
    };
    let result = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let signals = shutdown.clone();
        tokio::spawn(async move {
            if let Err(error) = stopped_by_signal().await {
                tracing::error!(%error, "signals cannot be watched");
            }
            signals.cancel();
        });
        compose::run(&args, &instance, shutdown, || ownership.record(&running)).await
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    result?;
    ownership.release()
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

fn log(args: &ServerArgs) {
    let level = match args.verbosity {
        0 => "error",
        1 => "warn,oxikube=info",
        2 | 3 => "info,hickory_server=warn",
        4 | 5 => "debug,hyper=info,h2=info,rustls=info,tower=info",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(true);
    let done =
        if args.logging_format == "json" { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
    if let Err(error) = done {
        eprintln!("oxikube: logging could not be set up: {error}");
    }
}
