//! What a machine needs before it can be part of a cluster; each thing that is wrong is said with its remedy.

use std::net::TcpListener;
use std::path::Path;

use crate::capabilities;
use crate::problem::Problem;

/// Programs that a node runs.
const PROGRAMS: [&str; 1] = ["nft"];
/// Below this a node would be tainted at once, in MiB.
const FREE: u64 = 1024;

/// A port that has to be free, and the flag that chooses another, where one does.
pub(crate) type Port = (u16, Option<&'static str>);

/// Ports of a member of etcd, which are the same on every master.
pub(crate) fn etcd_ports() -> impl Iterator<Item = Port> {
    cluster::etcd::PORTS.into_iter().map(|port| (port, None))
}

/// Looks at everything that a machine needs, and names all that is missing.
pub(crate) fn check(directory: &Path, ports: &[Port]) -> Result<(), Problem> {
    let mut wrong = Vec::new();
    wrong.extend(capabilities::check().err().map(|problem| problem.0));
    let missing = PROGRAMS.iter().filter(|program| !is_installed(program));
    wrong.extend(
        missing.map(|program| format!("the program '{program}' is missing; install it ('apt-get install nftables')")),
    );
    let taken = ports.iter().filter(|(port, _)| TcpListener::bind(("0.0.0.0", *port)).is_err());
    wrong.extend(taken.map(|(port, flag)| {
        let other = flag.map(|flag| format!(" or choose another with {flag}")).unwrap_or_default();
        format!("port {port} is taken by another program; stop it ('ss -tlnp' says which){other}")
    }));
    if let Err(error) = sys::cgroup::Cgroups::detect() {
        wrong.push(format!("control groups are not mounted ({error}); mount them, or boot with systemd"));
    }
    if let Some(free) = free(directory).filter(|free| *free < FREE) {
        wrong.push(format!(
            "only {free} MiB of the disk of {} are free; make room until {FREE} are",
            directory.display()
        ));
    }
    match wrong.as_slice() {
        [] => Ok(()),
        [one] => Err(Problem::new(one)),
        many => Err(Problem::new(format!("{} things are in the way:\n  - {}", many.len(), many.join("\n  - ")))),
    }
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// MiB of the disk that are free, where the directory is or will be.
fn free(directory: &Path) -> Option<u64> {
    let there = directory.ancestors().find(|path| path.exists())?;
    let stat = nix::sys::statvfs::statvfs(there).ok()?;
    Some((stat.blocks_available() * stat.fragment_size()) >> 20)
}
