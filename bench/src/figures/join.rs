//! A machine that joins a cluster, and leaves it again.

use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio::process::Command;

use crate::Args;
use crate::cluster::{Cluster, said, until};
use crate::failure::Failure;
use crate::network;
use crate::report::{Report, maximum, since};

pub(crate) const FIGURES: &[&str] = &["join_ms"];

const ROUNDS: usize = 3;

pub(crate) async fn measure(args: &Args, name: &str, report: &Report) -> Result<(), Failure> {
    let mut cluster = Cluster::new(&args.binary, &format!("{name}j"))?;
    let machine = Machine::beside(&args.binary, &format!("{name}k")).await?;
    let measured = figures(&mut cluster, &machine, args, report).await;
    let removed = machine.remove().await;
    match measured.and(removed) {
        Ok(()) => cluster.purge().await,
        Err(failure) => super::give_up(cluster, failure).await,
    }
}

async fn figures(cluster: &mut Cluster, machine: &Machine, args: &Args, report: &Report) -> Result<(), Failure> {
    cluster.start()?;
    let join = until("the command for another machine", async || {
        let printed = cluster.oxikube(&["token", "create", "--print-join-command"]).await?;
        Ok(printed.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>())
    })
    .await?;
    let mut times = Vec::new();
    for _ in 0..if args.quick { 1 } else { ROUNDS } {
        let start = Instant::now();
        machine.oxikube(&join, &["--node-name=second", &format!("--cgroup-root={}", machine.name)]).await?;
        times.push(since(start));
        machine.oxikube(&["reset".to_owned()], &[]).await?;
    }
    report.less("join_ms", maximum(&times), "ms", None);
    Ok(())
}

/// Another machine: a network namespace with a cable to this one.
struct Machine {
    binary: PathBuf,
    name: String,
    directory: PathBuf,
}

impl Machine {
    async fn beside(binary: &Path, name: &str) -> Result<Self, Failure> {
        let machine =
            Self { binary: binary.canonicalize()?, name: name.to_owned(), directory: std::env::temp_dir().join(name) };
        network::ip(&["netns", "add", name]).await?;
        let cable = ["link", "add", "cable0", "type", "veth", "peer", "name", "eth0", "netns", name];
        let here = ["address add 203.0.113.1/24 dev cable0", "link set cable0 up"];
        let there = [
            "link set lo up",
            "address add 203.0.113.2/24 dev eth0",
            "link set eth0 up",
            "route add default via 203.0.113.1 dev eth0",
        ];
        network::ip(&cable).await?;
        for words in here {
            network::ip(&words.split(' ').collect::<Vec<_>>()).await?;
        }
        for words in there {
            network::ip(&["-n", name].into_iter().chain(words.split(' ')).collect::<Vec<_>>()).await?;
        }
        Ok(machine)
    }

    async fn oxikube(&self, words: &[String], more: &[&str]) -> Result<(), Failure> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name)).arg("--").arg(&self.binary).args(words).args(more);
        said(command.env("OXIKUBE_DATA_DIR", &self.directory)).await.map(drop)
    }

    async fn remove(self) -> Result<(), Failure> {
        let reset = self.oxikube(&["reset".to_owned(), "--force".to_owned()], &[]).await;
        network::ip(&["netns", "delete", &self.name]).await?;
        reset
    }
}
