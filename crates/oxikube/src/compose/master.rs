//! The member of etcd beside the server of a machine that is one of several masters.

use std::net::IpAddr;
use std::time::Duration;

use cluster::machines::Machine;
use storage::etcd::{Membership, MembershipError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::machines::etcd;
use super::machines::process::{Part, Process};
use crate::instance::Instance;
use crate::master::Master;
use crate::problem::{During, Problem};

/// A member that is new has this long to read what there is.
const CATCH_UP: Duration = Duration::from_secs(120);

/// A member that is kept running; it is stopped last, or goes on when this process is killed.
pub(crate) struct Member {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Member {
    /// Starts the member of this machine, or finds it running.
    pub(crate) async fn start(instance: &Instance, master: &Master) -> Result<Self, Problem> {
        let machine = machine(instance, master)?;
        let data = Part::Etcd.directory(&machine);
        let (pki, members) = (instance.path("pki"), &master.members);
        let mut arguments = cluster::etcd::arguments(&master.name, master.address, &data, &pki, members);
        arguments.extend(master.joined.then(|| cluster::etcd::EXISTING.to_owned()));
        let process = Process { machine, netns: None, part: Part::Etcd, program: etcd::program().await?, arguments };
        let stop = CancellationToken::new();
        Ok(Self { task: tokio::spawn(process.supervise(stop.clone())), stop })
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "etcd was without supervision");
        }
    }
}

/// Waits until the member of this machine has a vote, and brings up to date what is known of the others.
pub(crate) async fn catch_up(instance: &Instance, master: &mut Master) -> Result<(), Problem> {
    let membership = membership(instance, master).await?;
    if !master.votes {
        let peer = cluster::etcd::peer_url(master.address);
        let log = instance.path("logs/etcd.log");
        let failed = format!("this machine's etcd does not become a member; see {}", log.display());
        membership.promote(&peer, CATCH_UP).await.during(failed)?;
        master.votes = true;
        master.save(instance)?;
    }
    match members(&membership).await {
        Ok(members) if members != master.members => {
            master.members = members;
            master.save(instance)
        }
        Ok(_) => Ok(()),
        Err(error) => {
            // The store says so, if that lasts.
            tracing::info!(%error, "the masters that were known before are taken to be there");
            Ok(())
        }
    }
}

/// Who is in the etcd of this master.
pub(crate) async fn membership(instance: &Instance, master: &Master) -> Result<Membership, Problem> {
    Membership::connect(&master.store(instance).options()?).await.during("cannot reach etcd")
}

/// Names and addresses of all members.
pub(crate) async fn members(membership: &Membership) -> Result<Vec<(String, IpAddr)>, MembershipError> {
    let list = membership.list().await?.into_iter();
    Ok(list.filter_map(|member| Some((member.name, cluster::etcd::peer_address(&member.peer)?))).collect())
}

/// Ends the member of this machine, which its server left when it was killed.
pub(crate) async fn end_member(instance: &Instance) -> Result<(), Problem> {
    let Some(master) = Master::read(instance)? else { return Ok(()) };
    match Part::Etcd.running(&machine(instance, &master)?)? {
        Some(pid) => Part::Etcd.end(pid).await,
        None => Ok(()),
    }
}

/// This machine, as those are described that are made on it.
fn machine(instance: &Instance, master: &Master) -> Result<Machine, Problem> {
    let IpAddr::V4(address) = master.address else {
        return Err(Problem::new(format!("masters have IPv4 addresses; {} is none", master.address)));
    };
    Ok(Machine { name: master.name.clone(), address, root: instance.root().to_owned() })
}
