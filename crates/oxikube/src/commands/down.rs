//! `oxikube down`

use std::time::Duration;

use clap::Args;

use crate::background;
use crate::cli::DataDir;
use crate::compose;
use crate::instance::{Instance, Ownership, State};
use crate::problem::Problem;

/// Arguments of `down`.
#[derive(Debug, Args)]
pub(crate) struct DownArgs {
    #[command(flatten)]
    data: DataDir,
    /// Remove the data, too
    #[arg(long)]
    purge: bool,
    /// Name of the instance [default: the one that ran here last]
    #[arg(long, env = "OXIKUBE_NAME")]
    name: Option<String>,
}

/// A server that does not end by itself in this time is killed.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) async fn run(args: &DownArgs) -> Result<(), Problem> {
    let instance = Instance::new(&args.data.data_dir);
    if !instance.root().exists() {
        println!("nothing to stop: {} is not there", instance.root().display());
        return Ok(());
    }
    let ownership = stop_all(&instance, args.name.as_deref()).await?;
    if args.purge {
        ownership.purge()?;
        println!("data removed");
        return Ok(());
    }
    ownership.release()
}

/// Stops what runs and takes everything off the host that it left there; the data stays.
pub(crate) async fn stop_all(instance: &Instance, name: Option<&str>) -> Result<Ownership, Problem> {
    let name = match instance.state()? {
        State::Up(running) => {
            background::end(running.pid, PATIENCE).await?;
            println!("server stopped");
            running.name
        }
        State::Crashed(running) => running.name,
        State::Stopped => name.map(str::to_owned).or_else(|| instance.name()).unwrap_or_else(|| "oxikube".to_owned()),
    };
    let ownership = instance.own()?;
    compose::end_member(instance).await?;
    compose::take_machines_down(instance).await?;
    compose::teardown(instance, &name).await?;
    println!("containers and network removed");
    Ok(ownership)
}
