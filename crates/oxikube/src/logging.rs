//! Logs of long-running commands: text or JSON lines on standard error.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use clap::Args;

use crate::problem::{Problem, file};

/// A larger log makes room for a new one; one old one is kept.
const MAX: u64 = 16 << 20;

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

/// Opens the log of a process that is about to start.
pub(crate) fn open(path: &Path) -> Result<File, Problem> {
    if std::fs::metadata(path).is_ok_and(|log| log.len() > MAX) {
        std::fs::rename(path, path.with_extension("log.1")).map_err(|e| file(path, &e))?;
    }
    File::options().create(true).append(true).open(path).map_err(|e| file(path, &e))
}

/// What a process said last; empty when that cannot be read.
pub(crate) fn last_line(path: &Path) -> String {
    const ENOUGH: u64 = 2000;
    let mut tail = Vec::new();
    let read = File::open(path).and_then(|mut log| {
        let length = log.metadata()?.len();
        log.seek(SeekFrom::Start(length.saturating_sub(ENOUGH)))?;
        log.read_to_end(&mut tail)
    });
    let said = String::from_utf8_lossy(&tail);
    if read.is_ok() { said.trim_end().lines().next_back().unwrap_or_default().to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_log_is_found() {
        let path = std::env::temp_dir().join(format!("oxikube-log-{}", std::process::id()));
        std::fs::write(&path, format!("{}\nfirst\nlast words\n", "x".repeat(5000))).unwrap();
        assert_eq!(last_line(&path), "last words");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(last_line(&path), "");
    }
}
