//! What is done to the machines.

use rand::Rng;
use rand::rngs::StdRng;
use tests::{Cluster, eventually, signal};

use super::load::Tally;

const ROUNDS: usize = 11;
/// Writes that are acknowledged between two faults, and during one.
const PROGRESS: usize = 60;

/// Something that is done to a machine and undone again.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Its processes of these kinds end at once; they are started anew by themselves.
    Killed(&'static [&'static str]),
    /// They stop, and go on later.
    Paused(&'static [&'static str]),
    /// No packet goes in or out.
    Cut,
}

const FAULTS: [Fault; 7] = [
    Fault::Killed(&["etcd"]),
    Fault::Killed(&["master"]),
    Fault::Killed(&["etcd", "master", "node"]),
    Fault::Paused(&["etcd"]),
    Fault::Paused(&["master"]),
    Fault::Paused(&["etcd", "master", "node"]),
    Fault::Cut,
];

/// A fault that is there until it is mended.
struct Present<'a> {
    cluster: &'a Cluster,
    machine: String,
    fault: Fault,
    pids: Vec<u64>,
}

impl<'a> Present<'a> {
    fn begin(cluster: &'a Cluster, machine: String, fault: Fault) -> Self {
        let of = |parts: &[&str]| {
            let all = cluster.processes(&machine).into_iter();
            all.filter(|(part, _)| parts.contains(&part.as_str())).map(|(_, pid)| pid).collect::<Vec<u64>>()
        };
        let pids = match fault {
            Fault::Killed(parts) => {
                signal("-9", &of(parts));
                Vec::new()
            }
            Fault::Paused(parts) => {
                let pids = of(parts);
                signal("-STOP", &pids);
                pids
            }
            Fault::Cut => {
                cluster.cable(&machine, "down");
                Vec::new()
            }
        };
        Self { cluster, machine, fault, pids }
    }

    fn mend(self) {
        match self.fault {
            Fault::Killed(_) => {}
            Fault::Paused(_) => signal("-CONT", &self.pids),
            Fault::Cut => self.cluster.cable(&self.machine, "up"),
        }
    }
}

fn progress(tally: &Tally, round: usize, when: &str) {
    let wanted = tally.acknowledged() + PROGRESS;
    eventually(&format!("round {round}: writes are acknowledged {when}"), || match tally.acknowledged() {
        now if now >= wanted => Ok(()),
        now => Err(format!("{} more are wanted", wanted - now)),
    });
}

/// Fault after fault.
pub(super) fn storm(cluster: &Cluster, tally: &Tally, dice: &mut StdRng) {
    for round in 0..ROUNDS {
        let machine = dice.random_range(1..=3);
        if round % 5 == 4 {
            // Two of three: nobody is served.
            let (one, other) = (cluster.machine(machine), cluster.machine(machine % 3 + 1));
            eprintln!("round {round}: etcd of {one} stops, {other} is cut off");
            let refused = tally.refused();
            let faults =
                [Present::begin(cluster, one, Fault::Paused(&["etcd"])), Present::begin(cluster, other, Fault::Cut)];
            eventually(&format!("round {round}: a refusal without a majority"), || match tally.refused() {
                now if now > refused => Ok(()),
                _ => Err("none".to_owned()),
            });
            faults.into_iter().for_each(Present::mend);
        } else {
            let fault = FAULTS[dice.random_range(0..FAULTS.len())];
            let machine = cluster.machine(machine);
            eprintln!("round {round}: {fault:?} {machine}");
            let fault = Present::begin(cluster, machine, fault);
            progress(tally, round, "in spite of it");
            fault.mend();
        }
        progress(tally, round, "afterwards");
    }
}
