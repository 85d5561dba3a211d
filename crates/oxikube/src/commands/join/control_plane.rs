//! `oxikube join --control-plane`: makes this machine one more master, with a member of etcd of its own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use cluster::discovery::Discovered;
use cluster::master::{SECRET, Shared};
use cluster::node::{MASTER_KEY, NodeFiles};
use cluster::sealed::SealKey;
use k8s_openapi::api::core::v1::{Node, Secret};
use kube::Api;
use storage::etcd::Membership;
use tokio::time::Instant;

use super::{JoinArgs, clash, told, trust};
use crate::admin::Admin;
use crate::background::{self, Started};
use crate::commands::up::is_ready;
use crate::compose;
use crate::instance::{Instance, State};
use crate::join;
use crate::master::{self, Master};
use crate::preflight;
use crate::problem::{During, Problem};
use crate::progress::Progress;

/// etcd takes one new member at a time, and wants all to have been well for a few seconds.
const PATIENCE: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(500);

/// A machine on its way to be a master.
pub(super) struct Joining<'a> {
    pub(super) args: &'a JoinArgs,
    pub(super) instance: &'a Instance,
    pub(super) name: &'a str,
}

impl Joining<'_> {
    pub(super) async fn run(&self, progress: &mut Progress) -> Result<(), Problem> {
        self.is_free()?;
        let mut started = None;
        if !matches!(self.instance.state()?, State::Up(_)) {
            if !Master::has_begun(self.instance) {
                self.enter(progress).await?;
            }
            progress.start("starting the master");
            let data = format!("--data-dir={}", self.instance.root().display());
            started = Some(background::start(self.instance, "server", &[data]).await?);
            progress.done("the master runs");
        }
        self.ready(started, progress).await
    }

    /// Refuses a directory that is something else than this master.
    fn is_free(&self) -> Result<(), Problem> {
        let root = self.instance.root().display();
        let what = match Master::read(self.instance)? {
            Some(master) if master.name != self.name => format!("belongs to the master {}", master.name),
            Some(_) => return Ok(()),
            None if NodeFiles::new(self.instance.root()).settings_file().exists() => "belongs to a node".to_owned(),
            None if self.instance.path("pki/ca.key").exists() => "holds a cluster of its own".to_owned(),
            None => return Ok(()),
        };
        Err(Problem::new(format!("{root} {what}; use 'oxikube reset' first, or choose another --data-dir")))
    }

    /// Gets what masters share, and a place among the members of etcd. Nothing of it binds before the member has run.
    async fn enter(&self, progress: &mut Progress) -> Result<(), Problem> {
        let key = self.args.certificate_key.as_deref().and_then(SealKey::parse).ok_or_else(|| {
            Problem::new(
                "--control-plane needs the --certificate-key (64 hexadecimal digits) that 'oxikube init --upload-certs' prints on a master",
            )
        })?;
        let token = trust(self.args)?;
        progress.start("looking for the cluster");
        let found = join::discover(&self.args.endpoint, &token, &self.args.discovery_token_ca_cert_hash).await?;
        progress.done(&format!("the cluster at {} is the right one", self.args.endpoint));
        let bootstrap = join::client(&self.args.endpoint, Some(&found.ca), Some(&token))?;
        let told = told(&bootstrap).await?;
        let (mut master, others) = self.described(&told)?;
        let mut ports =
            vec![(self.args.kubelet_port, Some("--kubelet-port")), (master::parse(&master.flags)?.api_port, None)];
        ports.extend(preflight::etcd_ports());
        preflight::check(self.instance.root(), &ports)?;
        compose::etcd_program().await?;
        clash(&bootstrap, self.name).await?;
        progress.start("fetching what masters share");
        let shared = fetch(&bootstrap, &key, &found).await?;
        drop(self.instance.own()?);
        // From here on the directory is a master's, on its way.
        master.save(self.instance)?;
        let failed = "cannot keep what masters share";
        cluster::master::receive(&shared, &self.instance.path("pki"), master.address).during(failed)?;
        progress.done("this machine has what masters share");
        progress.start("becoming a member of etcd");
        master.members = others;
        let membership = compose::membership(self.instance, &master).await?;
        master.members = add(&membership, self.name, master.address).await?;
        master.save(self.instance)
    }

    /// This machine as a master, and the others: for now one that nobody knows.
    fn described(&self, told: &BTreeMap<String, String>) -> Result<(Master, Vec<(String, IpAddr)>), Problem> {
        let servers = cluster::node::servers(told);
        let flags = told.get(MASTER_KEY).filter(|_| !servers.is_empty()).ok_or_else(|| {
            Problem::new(
                "this cluster keeps its state in the first machine's own store, which no other master can share; one whose masters share an etcd is made by 'oxikube init --upload-certs'",
            )
        })?;
        let flags: Vec<String> = serde_json::from_str(flags).during("cannot understand how masters are run")?;
        let address = self.args.node_ip.map_or_else(compose::advertise_address, Ok)?;
        let others = servers.into_iter().map(|server| (String::new(), server.ip())).filter(|(_, ip)| *ip != address);
        let master = Master {
            name: self.name.to_owned(),
            address,
            members: Vec::new(),
            joined: true,
            votes: false,
            cgroup: self.args.cgroup_root.clone(),
            flags,
            kubelet_port: self.args.kubelet_port,
        };
        Ok((master, others.collect()))
    }

    /// Waits until the machine's node is ready, as its own API server says.
    async fn ready(&self, started: Option<Started>, progress: &mut Progress) -> Result<(), Problem> {
        progress.start("waiting for the node to be ready");
        let admin = Admin::of(&self.args.data).await?;
        let ready = |node: Option<&Node>| node.is_some_and(is_ready);
        let nodes = Api::<Node>::all(admin.client.clone());
        tokio::select! {
            waited = kube::runtime::wait::await_condition(nodes, self.name, ready) => {
                waited.map(drop).during("cannot see whether the node is ready")?;
            }
            problem = background::broken(started) => return Err(problem),
        }
        admin.mark_master(self.name).await?;
        progress.done(&format!("master {} is ready", self.name));
        Ok(())
    }
}

/// What masters share, from the Secret that is locked with the key.
async fn fetch(client: &kube::Client, key: &SealKey, found: &Discovered) -> Result<Shared, Problem> {
    let again = "run 'oxikube init --upload-certs' on a master again, and take the command that it prints";
    let secret = Api::<Secret>::namespaced(client.clone(), "kube-system").get_opt(SECRET).await;
    let secret = secret.during("cannot fetch what masters share")?;
    let secret = secret.ok_or_else(|| {
        Problem::new(format!("the cluster does not hand out what masters share, which it does for two hours; {again}"))
    })?;
    let data = secret.data.unwrap_or_default();
    let shared = cluster::master::unseal(|name| data.get(name).map(|value| value.0.as_slice()), key);
    let shared = shared.map_err(|_| Problem::new(format!("--certificate-key is not the right one; {again}")))?;
    match shared.get("ca.crt") {
        _ if !cluster::master::is_whole(&shared) => {
            Err(Problem::new(format!("the cluster does not hand out all that masters share; {again}")))
        }
        Some(ca) if *ca != found.ca => Err(Problem::new(format!("what masters share is of another cluster; {again}"))),
        _ => Ok(shared),
    }
}

/// Makes this machine a member that has no vote yet, and tells who all members are. One of an earlier try, which has lost
/// what it had or never had anything, makes room.
async fn add(membership: &Membership, name: &str, address: IpAddr) -> Result<Vec<(String, IpAddr)>, Problem> {
    let failed = "etcd takes no new member";
    let peer = cluster::etcd::peer_url(address);
    let deadline = Instant::now() + PATIENCE;
    for earlier in membership.list().await.during(failed)?.iter().filter(|member| member.peer == peer) {
        membership.remove(earlier.id).await.during(failed)?;
    }
    loop {
        match membership.add(&peer).await {
            Ok(()) => break,
            Err(error) if Instant::now() >= deadline => return Err(error).during(failed),
            // An attempt that was not answered may have been taken.
            Err(_) if membership.list().await.is_ok_and(|list| list.iter().any(|member| member.peer == peer)) => break,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    let mut members = compose::members(membership).await.during(failed)?;
    for (own, _) in members.iter_mut().filter(|(_, there)| *there == address) {
        name.clone_into(own);
    }
    Ok(members)
}
