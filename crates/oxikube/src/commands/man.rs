//! `oxikube man`: the manual pages, made of the command line itself. Packages are made with it.

use std::path::PathBuf;

use clap::{Args, CommandFactory};

use crate::problem::{Problem, file};

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Where the pages go
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) fn run<C: CommandFactory>(args: &ManArgs) -> Result<(), Problem> {
    let written = std::fs::create_dir_all(&args.dir).and_then(|()| clap_mangen::generate_to(C::command(), &args.dir));
    written.map_err(|error| file(&args.dir, &error))
}
