//! oxikube: Kubernetes in one binary. The command line, and the wiring of the parts; nothing else lives here.

mod cli;
mod commands;
mod compose;
mod instance;
mod manifests;
mod problem;
mod progress;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("oxikube: {problem}");
            ExitCode::FAILURE
        }
    }
}
