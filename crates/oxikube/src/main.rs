//! oxikube: Kubernetes in one binary. The command line, and the wiring of the parts; nothing else lives here.

mod accounts;
mod admin;
mod background;
mod capabilities;
mod certificates;
mod cli;
mod commands;
mod compose;
mod gateway;
mod identity;
mod images;
mod instance;
mod join;
mod leader;
mod logging;
mod manifests;
mod master;
mod notify;
mod plain;
mod preflight;
mod problem;
mod progress;
mod store;
mod why;

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    // The shim is started once a pod: nothing is set up on its way.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|a| a == "shim") {
        return runtime::shim::main(arguments);
    }
    // So is the network plugin, by engines of others.
    if podnet::plugin::is_called() {
        return podnet::plugin::main();
    }
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("oxikube: another cryptography provider is in place");
        return ExitCode::FAILURE;
    }
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            // Standard error may be a file on a full disk: the exit code has to do then.
            drop(writeln!(std::io::stderr(), "oxikube: {problem}"));
            ExitCode::FAILURE
        }
    }
}
