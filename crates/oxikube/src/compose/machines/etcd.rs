//! The program etcd, which is not of this project.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::problem::{During, Problem};

const PACKAGE: &str = "etcd-server";
/// Installing takes no longer.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where it is; on Debian it is installed when it is missing.
pub(crate) async fn program() -> Result<PathBuf, Problem> {
    if let Some(program) = find("etcd") {
        return Ok(program);
    }
    let needed =
        format!("several masters keep their state in etcd, which is not installed; on Debian: apt install {PACKAGE}");
    let Some(apt) = find("apt-get") else { return Err(Problem::new(needed)) };
    tracing::info!(package = PACKAGE, "several masters keep their state in etcd, which is installed now");
    let mut install = Command::new(apt);
    install.args(["install", "--yes", "--no-install-recommends", PACKAGE]).env("DEBIAN_FRONTEND", "noninteractive");
    let installing = tokio::time::timeout(PATIENCE, install.stdin(Stdio::null()).kill_on_drop(true).output());
    let output = installing.await.during(&needed)?.during(&needed)?;
    find("etcd").ok_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        Problem::new(format!("{needed} ({})", said.trim().lines().last().unwrap_or("that changed nothing just now")))
    })
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/bin", "/usr/sbin", "/usr/local/bin"].map(PathBuf::from));
    places.map(|place| place.join(program)).find(|file| file.is_file())
}
