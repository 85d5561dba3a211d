//! Measures. `bench` starts a cluster of its own in a network namespace of its own, takes the figures that the project
//! is held to, and prints each as a JSON line beside what upstream gives; `bench store` compares storage engines.

mod api;
mod cluster;
mod failure;
mod figures;
mod network;
mod processes;
mod report;
mod scheduling;
mod store;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

/// Measures a cluster, or storage engines.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    cluster: Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare storage engines
    Store(store::Args),
    /// Measure the scheduler's decisions
    Scheduling(scheduling::Args),
}

/// What to measure on a cluster.
#[derive(Debug, Clone, clap::Args)]
struct Args {
    /// The oxikube binary
    #[arg(long, default_value = "target/release/oxikube")]
    binary: PathBuf,
    /// Archive of the nginx image
    #[arg(long, default_value = "target/nginx.tar")]
    image: PathBuf,
    /// Only figures whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Smaller counts
    #[arg(long)]
    quick: bool,
    /// Set by the outer process for the one inside the network namespace
    #[arg(long, hide = true)]
    inside: Option<String>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        match (cli.command, &cli.cluster.inside) {
            (Some(Command::Store(args)), _) => store::run(&args).await,
            (Some(Command::Scheduling(args)), _) => scheduling::run(&args),
            (None, Some(name)) => figures::run(&cli.cluster, name).await,
            (None, None) => network::enter(&format!("oxb{}", std::process::id())).await,
        }
    })
}
