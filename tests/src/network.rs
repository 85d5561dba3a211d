//! A network namespace with an address of its own, so that clusters of several tests do not meet.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The address of the machine that the namespace pretends to be.
pub(crate) const ADDRESS: &str = "198.51.100.10";

/// A named network namespace.
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    pub(crate) fn new(name: &str) -> Result<Self, String> {
        let namespace = Self { name: name.to_owned() };
        run("ip", &["netns", "add", name])?;
        for arguments in [
            "link set lo up",
            "link add up0 type veth peer name up1",
            "address add 198.51.100.10/24 dev up0",
            "link set up0 up",
            "link set up1 up",
            "route add default via 198.51.100.1 dev up0",
        ] {
            let words: Vec<&str> = ["-n", name].into_iter().chain(arguments.split(' ')).collect();
            run("ip", &words)?;
        }
        Ok(namespace)
    }

    /// A namespace at `198.51.100.LAST`, on one switch with that of a cluster.
    pub(crate) fn beside(name: &str, cluster: &str, last: u8) -> Result<Self, String> {
        let namespace = Self { name: name.to_owned() };
        run("ip", &["netns", "add", name])?;
        let port = format!("m{last}");
        // The cluster's cable ends in the switch from now on; making the switch again is no harm.
        let switch = ["-n", cluster, "link", "add", "switch0", "type", "bridge"];
        if run("ip", &["-n", cluster, "link", "show", "switch0"]).is_err() {
            run("ip", &switch)?;
        }
        let add = ["-n", cluster, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", name];
        run("ip", &add)?;
        for arguments in [
            "link set switch0 up".to_owned(),
            "link set up1 master switch0".to_owned(),
            format!("link set {port} master switch0"),
            format!("link set {port} up"),
        ] {
            let words: Vec<&str> = ["-n", cluster].into_iter().chain(arguments.split(' ')).collect();
            run("ip", &words)?;
        }
        for arguments in [
            "link set lo up".to_owned(),
            format!("address add 198.51.100.{last}/24 dev eth0"),
            "link set eth0 up".to_owned(),
            "route add default via 198.51.100.1 dev eth0".to_owned(),
        ] {
            let words: Vec<&str> = ["-n", name].into_iter().chain(arguments.split(' ')).collect();
            run("ip", &words)?;
        }
        Ok(namespace)
    }

    /// Where it is pinned.
    pub(crate) fn file(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// What is needed to run something inside.
    pub(crate) fn handle(&self) -> Handle {
        Handle { name: self.name.clone() }
    }

    /// A command that runs inside.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.handle().command(program)
    }
}

/// The way into a namespace; does not keep it.
pub(crate) struct Handle {
    name: String,
}

impl Handle {
    /// A command that runs inside. Unlike `ip netns exec` this leaves /sys, and the cgroups below it, alone.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name)).arg("--").arg(program);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = run("ip", &["netns", "delete", &self.name]) {
            eprintln!("left behind: network namespace {}: {error}", self.name);
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
    }
}
