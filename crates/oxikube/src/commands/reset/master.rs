//! Takes a master out of the cluster of several: its member of etcd first, while it still counts.

use std::net::SocketAddr;
use std::time::Duration;

use cluster::node::{CONFIG_MAP, server_key};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::Instant;

use crate::compose;
use crate::instance::Instance;
use crate::master::{self, Master};
use crate::problem::{During, Problem};

/// etcd wants all members to have been well for a few seconds.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(500);

/// Takes this machine's member out of etcd; tells where the API servers of the other masters are. It is the others that are
/// asked: when they know that it has left, it may stop.
pub(super) async fn leave(instance: &Instance, master: &Master) -> Result<Vec<SocketAddr>, Problem> {
    let others = Master { members: master.without_itself(), ..master.clone() };
    if others.members.is_empty() {
        return Ok(Vec::new());
    }
    let failed = "this master cannot leave the others; see 'oxikube status' there";
    let membership = compose::membership(instance, &others).await?;
    let peer = cluster::etcd::peer_url(master.address);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let members = membership.list().await.during(failed)?;
        let Some(own) = members.iter().find(|member| member.peer == peer) else { break };
        match membership.remove(own.id).await {
            Err(error) if Instant::now() >= deadline => return Err(error).during(failed),
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
    let port = master::parse(&master.flags)?.api_port;
    Ok(others.members.into_iter().map(|(_, address)| SocketAddr::new(address, port)).collect())
}

/// Who the masters are now, where they can be asked.
pub(super) async fn look(instance: &Instance, master: &mut Master) {
    if master.members.is_empty() {
        return;
    }
    let Ok(membership) = compose::membership(instance, master).await else { return };
    if let Ok(members) = compose::members(&membership).await {
        master.members = members;
    }
}

/// Whether with this master the cluster ends, as far as is known.
pub(super) fn is_last(instance: &Instance, master: Option<&Master>) -> bool {
    match master {
        Some(master) if !Master::has_begun(instance) && master.joined => false,
        Some(master) => master.without_itself().is_empty(),
        None => instance.path("pki/ca.key").exists(),
    }
}

/// The nodes are not to look for an API server here any more.
pub(super) async fn forget(client: &kube::Client, name: &str) -> kube::Result<()> {
    let gone = json!({"data": {server_key(name): null}});
    let maps = Api::<ConfigMap>::namespaced(client.clone(), "kube-system");
    maps.patch(CONFIG_MAP, &PatchParams::default(), &Patch::Merge(&gone)).await.map(drop)
}
