//! Logs of long-running commands: text or JSON lines on standard error.

use clap::Args;

/// How to log.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogArgs {
    /// Write logs as JSON lines
    #[arg(long, default_value = "text", value_parser = ["text", "json"])]
    pub(crate) logging_format: String,
    /// How much to log: 0 is quiet, 4 shows requests
    #[arg(short = 'v', long = "v", default_value_t = 1, value_name = "LEVEL")]
    pub(crate) verbosity: u8,
}

/// Starts logging.
pub(crate) fn start(args: &LogArgs) {
    let level = match args.verbosity {
        0 => "error",
        1 => "warn,oxikube=info",
        2 | 3 => "info,hickory_server=warn",
        4 | 5 => "debug,hyper=info,h2=info,rustls=info,tower=info",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    // A log on a full disk cannot be written to; to complain of that on the same disk would be a panic.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(true)
        .log_internal_errors(false);
    let done =
        if args.logging_format == "json" { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
    if let Err(error) = done {
        eprintln!("oxikube: logging could not be set up: {error}");
    }
}
