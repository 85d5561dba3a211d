//! `oxikube snapshot save|restore`: the whole state of a cluster as one file.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use storage::snapshot::Snapshot;
use storage::{embedded, etcd};

use crate::cli::DataDir;
use crate::instance::{Instance, State};
use crate::problem::{During, Problem};
use crate::store::EtcdArgs;

/// Arguments of `snapshot`.
#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the state to a file; the cluster may run meanwhile
    Save(Place),
    /// Make the state what a file says; no server may run on it meanwhile
    Restore {
        #[command(flatten)]
        place: Place,
        /// Have the snapshot instead of what is there
        #[arg(long)]
        replace: bool,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    etcd: EtcdArgs,
}

pub(crate) async fn run(args: SnapshotArgs) -> Result<(), Problem> {
    match args.command {
        Command::Save(place) => save(&place).await,
        Command::Restore { place, replace } => restore(&place, replace).await,
    }
}

async fn save(place: &Place) -> Result<(), Problem> {
    let snapshot = if place.etcd.is_given() {
        etcd::save(&place.etcd.options()?).await
    } else {
        embedded::save(&Instance::new(&place.data.data_dir).path("store"))
    };
    let snapshot = snapshot.during("cannot take a snapshot")?;
    snapshot.save(&place.file).during("cannot write the snapshot")?;
    println!("{} keys at revision {} saved to {}", snapshot.entries.len(), snapshot.revision, place.file.display());
    Ok(())
}

async fn restore(place: &Place, replace: bool) -> Result<(), Problem> {
    let snapshot = Snapshot::load(&place.file).during("cannot read the snapshot")?;
    let failed = "cannot restore the snapshot";
    let revision = if place.etcd.is_given() {
        etcd::restore(&place.etcd.options()?, &snapshot, replace).await.during(failed)?
    } else {
        let instance = Instance::new(&place.data.data_dir);
        if let State::Up(running) = instance.state()? {
            let pid = running.pid;
            return Err(Problem::new(format!("the server runs (process {pid}); stop it first with 'oxikube down'")));
        }
        let _ownership = instance.own()?;
        embedded::restore(&instance.path("store"), &snapshot, replace).during(failed)?
    };
    println!("{} keys restored; revisions go on above {revision}", snapshot.entries.len());
    Ok(())
}
