//! A cluster of three masters, made for these figures alone: from nothing to ready, and how soon others take over.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::Args;
use crate::api::Api;
use crate::cluster::{Cluster, until};
use crate::failure::Failure;
use crate::figures::objects;
use crate::processes::pss;
use crate::report::{Report, maximum, since};

pub(crate) const FIGURES: &[&str] = &["masters3_ready_ms", "master_pss_mib", "api_takeover_ms", "leader_takeover_ms"];

const MASTERS: usize = 3;
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const PODS: &str = "/api/v1/namespaces/default/pods";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-controller-manager";
/// A request that takes longer counts as failed, and its client tries again.
const SLOW: Duration = Duration::from_secs(1);

pub(crate) async fn measure(args: &Args, name: &str, report: &Report) -> Result<(), Failure> {
    let name = format!("{name}m");
    let mut cluster = Cluster::new(&args.binary, &name)?;
    match figures(&mut cluster, args, &name, report).await {
        Ok(()) => cluster.purge().await,
        Err(failure) => super::give_up(cluster, failure).await,
    }
}

async fn figures(cluster: &mut Cluster, args: &Args, name: &str, report: &Report) -> Result<(), Failure> {
    let start = cluster.launch(&["--control-planes=3"])?;
    let api = cluster.api().await?;
    ready(&api).await?;
    report.less("masters3_ready_ms", since(start), "ms", None);
    tokio::time::sleep(Duration::from_secs(if args.quick { 2 } else { 10 })).await;
    let machines: Vec<String> = (1..=MASTERS).map(|number| format!("{name}-{number}")).collect();
    let sizes = machines.iter().map(|machine| cluster.master_process(machine).map(pss));
    report.less("master_pss_mib", maximum(&sizes.collect::<Result<Vec<_>, _>>()?), "MiB", None);

    let mut times = Vec::new();
    for (number, machine) in machines.iter().enumerate() {
        times.push(api_takeover(cluster, &api, machine, number).await?);
    }
    report.less("api_takeover_ms", maximum(&times), "ms", None);

    let mut times = Vec::new();
    for number in 0..MASTERS {
        times.push(leader_takeover(cluster, &api, number).await?);
    }
    report.less("leader_takeover_ms", maximum(&times), "ms", None);
    Ok(())
}

/// Waits for all nodes and all API servers.
async fn ready(api: &Api) -> Result<(), Failure> {
    let mut addresses = Vec::new();
    until("three nodes are ready", async || {
        let mut ready = HashSet::new();
        let all = |event: &Value| {
            if objects::condition(event, "Ready") {
                ready.insert(objects::text(event, "/object/status/addresses/0/address"));
            }
            ready.len() == MASTERS
        };
        api.watch("/api/v1/nodes").await?.until("three nodes are ready", all).await?;
        addresses = ready.into_iter().collect();
        Ok(())
    })
    .await?;
    for address in addresses {
        let master = api.at(&format!("{address}:6443"))?;
        until("a master is ready", async || master.connect().await?.call(Method::GET, "/readyz", Bytes::new()).await)
            .await?;
    }
    Ok(())
}

fn signal(pid: i32, signal: Signal) -> Result<(), Failure> {
    Ok(kill(Pid::from_raw(pid), signal).map_err(std::io::Error::from)?)
}

/// A write through the one address, answered in good time.
async fn write(api: &Api, name: &str) -> Result<(), Failure> {
    let made = objects::config_map(name, 'x');
    let write = api.send(Method::POST, CONFIG_MAPS, &made);
    tokio::time::timeout(SLOW, write).await.map_err(|_| Failure::Late("a write".into()))?.map(drop)
}

/// An API server hangs, which is worse than its end: the time after which every write is answered again.
async fn api_takeover(cluster: &Cluster, api: &Api, machine: &str, round: usize) -> Result<f64, Failure> {
    let pid = cluster.master_process(machine)?;
    let start = Instant::now();
    signal(pid, Signal::SIGSTOP)?;
    let (mut streak, mut taken, mut number) = (0, 0.0, 0);
    while streak < MASTERS * 2 && since(start) < 30_000.0 {
        let began = since(start);
        number += 1;
        streak = match write(api, &format!("takeover-{round}-{number}")).await {
            Ok(()) => streak + 1,
            Err(_) => 0,
        };
        if streak == 1 {
            taken = began;
        }
    }
    signal(pid, Signal::SIGCONT)?;
    if streak == 0 {
        return Err(Failure::Late("the other API servers".into()));
    }
    ready(api).await?;
    Ok(taken)
}

/// The master that leads is killed: the time after which a Deployment that is made then has its pod on a node.
async fn leader_takeover(cluster: &Cluster, api: &Api, round: usize) -> Result<f64, Failure> {
    let holder = objects::text(&api.get(LEASE).await?, "/spec/holderIdentity");
    let machine = holder.split_once('_').map_or(holder.as_str(), |(machine, _)| machine);
    let name = format!("takeover-{round}");
    let start = Instant::now();
    signal(cluster.master_process(machine)?, Signal::SIGKILL)?;
    let made = objects::deployment(&name, 1, None);
    until("a Deployment", async || api.send(Method::POST, DEPLOYMENTS, &made).await).await?;
    until("its pod", async || {
        let bound = |event: &Value| {
            objects::text(event, "/object/metadata/labels/app") == name
                && !objects::text(event, "/object/spec/nodeName").is_empty()
        };
        api.watch(PODS).await?.until("the pod has a node", bound).await
    })
    .await?;
    let taken = since(start);
    ready(api).await?;
    Ok(taken)
}
