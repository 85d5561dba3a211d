//! Storage engines side by side.

use crate::failure::Failure;

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: &Args) -> Result<(), Failure> {
    Ok(())
}
