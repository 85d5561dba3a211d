//! The project's own chores: `cargo xtask tidy`, `cargo xtask image`, `cargo xtask package`.

mod image;
mod package;
mod tidy;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["tidy"] => tidy::run(),
        ["image", out] => image::run(std::path::Path::new(out)),
        ["package", binary, out] => package::run(std::path::Path::new(binary), std::path::Path::new(out)),
        _ => Err("usage: cargo xtask tidy | image OUT.tar | package BINARY OUT-DIR".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
