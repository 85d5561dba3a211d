//! The process that stands between the engine and the containers of one pod.
//!
//! One a pod, single-threaded, small. It starts containers and commands (through short-lived children of its own, in
//! which libcontainer runs), reaps them, writes their logs, keeps their exit codes on disk, and outlives the server.
//! The engine talks to it over a unix socket: see [`protocol`].

mod devices;
mod helper;
mod log;
mod pause;
pub mod protocol;
mod reasons;
mod serve;
mod task;

use std::ffi::OsString;
use std::process::ExitCode;

/// Entry point of `oxikube shim …`; `args` are those after the word `shim`.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<String> = args.into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["serve", directory, cgroup] => serve::main(directory, cgroup),
        ["create", job] => helper::create(job),
        ["exec", job] => helper::exec(job),
        ["sandbox", job] => pause::sandbox(job),
        ["pause"] => pause::pause(),
        _ => Err(std::io::Error::other("the shim is started by the container engine only")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oxikube shim: {error}");
            ExitCode::FAILURE
        }
    }
}
