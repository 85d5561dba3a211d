//! Storage engines side by side: durable writes of 1 KiB, then what opening, memory and disk cost.
//!
//! Every engine is measured in a process of its own. Those that do not batch by themselves get the same treatment as
//! ours: one writing thread that takes whatever waits, commits it as one transaction, syncs, and then answers.

mod engines;
mod load;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::failure::Failure;
use crate::processes::pss;
use engines::Engine;

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Seconds of writing at each number of clients
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Folder on the disk to measure
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Only this one
    #[arg(long)]
    engine: Option<String>,
    /// Set by the outer process: measure this data directory's opening
    #[arg(long, hide = true)]
    open: Option<PathBuf>,
}

pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    match (&args.engine, &args.open) {
        (Some(name), Some(path)) => {
            let (name, path) = (name.clone(), path.clone());
            tokio::task::spawn_blocking(move || open(&name, &path)).await.map_err(|e| e.to_string())?
        }
        (Some(name), None) => measure(args, name).await,
        (None, _) => each(args).await,
    }
}

async fn each(args: &Args) -> Result<(), Failure> {
    if engines::NAMES.len() == 1 {
        eprintln!("bench: only our own engine is built in; the others come with --features engines");
    }
    for name in engines::NAMES {
        let mut again = tokio::process::Command::new(std::env::current_exe()?);
        again.args(["store", "--engine", name, "--seconds", &args.seconds.to_string()]);
        again.args(args.folder.iter().flat_map(|f| ["--folder".as_ref(), f.as_os_str()]));
        if !again.stdin(Stdio::null()).status().await?.success() {
            return Err(Failure::Other(format!("measuring {name} failed")));
        }
    }
    Ok(())
}

async fn measure(args: &Args, name: &str) -> Result<(), Failure> {
    let folder = args.folder.clone().unwrap_or_else(std::env::temp_dir);
    let directory = tempfile::tempdir_in(folder)?;
    let engine = engines::open(name, directory.path())?;
    let writer = load::Writer::new(engine);
    let mut rates = Vec::new();
    for clients in [1, 32, 256] {
        rates.push(load::run(&writer, clients, Duration::from_secs(args.seconds)).await?);
    }
    load::touch_all(&writer).await?;
    let memory = pss(std::process::id().cast_signed());
    writer.close().await?;
    let disk = size(directory.path())?;
    let mut again = tokio::process::Command::new(std::env::current_exe()?);
    again.args(["store", "--engine", name, "--open"]).arg(directory.path());
    let output = again.stdin(Stdio::null()).output().await?;
    let opened: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let rate = |i: usize| rates.get(i).map(|r: &f64| r.round());
    println!(
        "{}",
        json!({"engine": name, "keys": load::KEYS, "writes_per_second_1": rate(0), "writes_per_second_32": rate(1),
            "writes_per_second_256": rate(2), "pss_mib": memory.round(), "disk_mib": (disk as f64 / 1_048_576.0).round(),
            "open_ms": opened.get("open_ms"), "opened_pss_mib": opened.get("pss_mib")})
    );
    Ok(())
}

/// Opens and reads everything once, as an API server does whose cache is to be warm.
fn open(name: &str, path: &std::path::Path) -> Result<(), Failure> {
    let start = Instant::now();
    let engine = engines::open(name, path)?;
    let found = engine.read_all()?;
    let time = crate::report::since(start).round();
    if found != load::KEYS {
        return Err(Failure::Other(format!("{name} has {found} keys of {}", load::KEYS)));
    }
    println!("{}", json!({"open_ms": time, "pss_mib": pss(std::process::id().cast_signed()).round()}));
    Ok(())
}

fn size(path: &std::path::Path) -> Result<u64, Failure> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(path)? {
        let (entry, kind) = entry.and_then(|e| e.file_type().map(|t| (e, t)))?;
        bytes += if kind.is_dir() { size(&entry.path())? } else { entry.metadata()?.blocks() * 512 };
    }
    Ok(bytes)
}
