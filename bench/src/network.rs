//! A network namespace of its own for the measured cluster; this program runs itself again inside.

use std::process::Stdio;

use tokio::process::Command;

use crate::failure::Failure;

/// Makes the namespace, runs this program inside, removes the namespace.
pub(crate) async fn enter(name: &str) -> Result<(), Failure> {
    // Ctrl-C reaches the inner process too, which cleans up; this one has to outlive it.
    let _interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let result = match make(name).await {
        Ok(()) => inside(name).await,
        Err(failure) => Err(failure),
    };
    ip(&["netns", "delete", name]).await?;
    result
}

async fn make(name: &str) -> Result<(), Failure> {
    ip(&["netns", "add", name]).await?;
    for arguments in [
        "link set lo up",
        "link add up0 type veth peer name up1",
        "address add 198.51.100.10/24 dev up0",
        "link set up0 up",
        "link set up1 up",
        "route add default via 198.51.100.1 dev up0",
    ] {
        let words: Vec<&str> = ["-n", name].into_iter().chain(arguments.split(' ')).collect();
        ip(&words).await?;
    }
    Ok(())
}

async fn inside(name: &str) -> Result<(), Failure> {
    let own = std::env::current_exe()?;
    let status = Command::new("nsenter")
        .arg(format!("--net=/run/netns/{name}"))
        .arg("--")
        .arg(own)
        .args(std::env::args_os().skip(1))
        .arg(format!("--inside={name}"))
        .stdin(Stdio::null())
        .status()
        .await?;
    if status.success() { Ok(()) } else { Err(Failure::Other(format!("measuring failed ({status})"))) }
}

pub(crate) async fn ip(arguments: &[&str]) -> Result<(), Failure> {
    let output = Command::new("ip").args(arguments).output().await?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::Other(format!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())))
}
