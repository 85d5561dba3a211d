//! `oxikube join`: makes this machine a node of a cluster, as kubeadm does. Every step looks first whether it was done
//! already, so that a join that broke off can be run again.

mod control_plane;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use api::bootstrap::Token;
use clap::Args;
use client::Rotating;
use cluster::discovery::{self, Discovered};
use cluster::node::{NodeFiles, NodeSettings};
use cluster::pki;
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::Api;
use tokio::time::Instant;

use super::up::is_ready;
use crate::background::{self, Started};
use crate::cli::{DataDir, duration};
use crate::compose;
use crate::identity;
use crate::instance::{Instance, State};
use crate::join::{self, Endpoint};
use crate::master::Master;
use crate::preflight;
use crate::problem::{During, Problem};
use crate::progress::Progress;

/// Arguments of `join`.
#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// Where the API of the cluster is: ADDRESS:PORT
    #[arg(value_name = "ADDRESS:PORT")]
    endpoint: Endpoint,
    #[command(flatten)]
    data: DataDir,
    /// The token that 'oxikube token create' printed
    #[arg(long, value_name = "TOKEN")]
    token: String,
    /// Fingerprint of the cluster's CA: sha256:...
    #[arg(long, value_name = "HASH", value_delimiter = ',')]
    discovery_token_ca_cert_hash: Vec<String>,
    /// Trust whoever knows the token, without a fingerprint
    #[arg(long)]
    discovery_token_unsafe_skip_ca_verification: bool,
    /// Make it one more master, where masters share an etcd
    #[arg(long)]
    control_plane: bool,
    /// The key of what masters share, which 'oxikube init --upload-certs' printed
    #[arg(long, value_name = "KEY", requires = "control_plane")]
    certificate_key: Option<String>,
    /// Name of the node [default: the host's]
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// Address of the node [default: the one this machine reaches others from]
    #[arg(long, value_name = "IP")]
    node_ip: Option<IpAddr>,
    /// Port of the kubelet
    #[arg(long, default_value_t = 10250, value_name = "PORT")]
    kubelet_port: u16,
    /// Control group of everything on the node [default: called as the cluster's instance]
    #[arg(long, env = "OXIKUBE_CGROUP_ROOT", value_name = "GROUP")]
    cgroup_root: Option<String>,
    /// How long to wait for everything
    #[arg(long, default_value = "120s", value_parser = duration, value_name = "DURATION")]
    timeout: Duration,
}

pub(crate) async fn run(args: JoinArgs) -> Result<(), Problem> {
    let instance = Instance::new(&args.data.data_dir);
    let name = compose::node_name(args.node_name.as_ref())?;
    let deadline = Instant::now() + args.timeout;
    let mut progress = Progress::new();
    let (what, log, joined) = if args.control_plane {
        let joining = control_plane::Joining { args: &args, instance: &instance, name: &name };
        ("master", "server", tokio::time::timeout_at(deadline, joining.run(&mut progress)).await)
    } else {
        ("node", "node", tokio::time::timeout_at(deadline, node(&args, &instance, &name, &mut progress)).await)
    };
    joined.unwrap_or_else(|_| {
        Err(Problem::new(format!(
            "this machine did not become a {what} within {} s; run the same command again, and see {}",
            args.timeout.as_secs(),
            instance.path(&format!("logs/{log}.log")).display()
        )))
    })
}

/// Makes the machine a node that is no master.
async fn node(args: &JoinArgs, instance: &Instance, name: &str, progress: &mut Progress) -> Result<(), Problem> {
    let files = NodeFiles::new(instance.root());
    let known = files.settings().during("cannot tell what this machine was")?;
    is_free(instance, known.as_ref(), name)?;
    let token = trust(args)?;
    let runs = matches!(instance.state()?, State::Up(_));
    if !runs {
        preflight::check(instance.root(), &[(args.kubelet_port, Some("--kubelet-port"))])?;
    }
    let joining = Joining { args, instance, files, name, token: &token };
    let started = match runs {
        true => None,
        false => Some(joining.start(known, progress).await?),
    };
    joining.ready(started, progress).await
}

/// Refuses a directory that is something else than this node.
fn is_free(instance: &Instance, known: Option<&NodeSettings>, name: &str) -> Result<(), Problem> {
    let root = instance.root().display();
    match known {
        Some(known) if known.node != name => Err(Problem::new(format!(
            "{root} belongs to the node {}; take it out of its cluster with 'oxikube reset' first, or choose another --data-dir",
            known.node
        ))),
        None if Master::read(instance)?.is_some() => {
            Err(Problem::new(format!("{root} is a master's; take it out of its cluster with 'oxikube reset' first")))
        }
        None if instance.path("pki/ca.key").exists() => Err(Problem::new(format!(
            "{root} holds a cluster of its own; remove it with 'oxikube reset' first, or choose another --data-dir"
        ))),
        _ => Ok(()),
    }
}

/// What the command line says about whom to trust.
fn trust(args: &JoinArgs) -> Result<Token, Problem> {
    let token = Token::parse(&args.token).ok_or_else(|| {
        Problem::new("--token is no token: one is six small letters or digits, a dot, and sixteen more")
    })?;
    if args.discovery_token_ca_cert_hash.is_empty() && !args.discovery_token_unsafe_skip_ca_verification {
        return Err(Problem::new(
            "without --discovery-token-ca-cert-hash this machine cannot tell the cluster from an impostor; 'oxikube token create --print-join-command' prints it (or say --discovery-token-unsafe-skip-ca-verification)",
        ));
    }
    for pin in &args.discovery_token_ca_cert_hash {
        discovery::check_pin(pin).map_err(|e| Problem::new(e.to_string()))?;
    }
    Ok(token)
}

/// A machine on its way into a cluster.
struct Joining<'a> {
    args: &'a JoinArgs,
    instance: &'a Instance,
    files: NodeFiles,
    name: &'a str,
    token: &'a Token,
}

impl Joining<'_> {
    /// Makes the machine a node, as far as it is none yet, and starts it.
    async fn start(&self, known: Option<NodeSettings>, progress: &mut Progress) -> Result<Started, Problem> {
        let endpoint = &self.args.endpoint;
        progress.start("looking for the cluster");
        let mut found = join::discover(endpoint, self.token, &self.args.discovery_token_ca_cert_hash).await?;
        progress.done(&format!("the cluster at {endpoint} is the right one"));
        if std::fs::read_to_string(self.files.ca()).is_ok_and(|ca| known.is_some() && ca != found.ca) {
            return Err(Problem::new(format!(
                "{} belongs to another cluster; take it out of that with 'oxikube reset' first, or choose another --data-dir",
                self.instance.root().display()
            )));
        }
        if !self.has_certificate(known.is_some()).await {
            progress.start("asking for the node's certificate");
            found.server = endpoint.url();
            self.identify(known, found).await?;
            progress.done("the node has its certificate");
        }
        progress.start("starting the node");
        let data = format!("--data-dir={}", self.instance.root().display());
        let started = background::start(self.instance, "node", &[data]).await?;
        progress.done("the node runs");
        Ok(started)
    }

    async fn has_certificate(&self, known: bool) -> bool {
        known && Rotating::from_kubeconfig(&self.files.kubeconfig()).await.is_ok_and(|rotating| !rotating.is_over())
    }

    /// Gets the node's certificate by the token. What the node is told is written last: that makes it one.
    async fn identify(&self, known: Option<NodeSettings>, mut found: Discovered) -> Result<(), Problem> {
        let bootstrap = join::client(&self.args.endpoint, Some(&found.ca), Some(self.token))?;
        let settings = match known {
            Some(known) => known,
            None => {
                clash(&bootstrap, self.name).await?;
                settings(self.args, &told(&bootstrap).await?, self.name)?
            }
        };
        if !settings.servers.is_empty() {
            // There are several, and the node has a balancer of its own.
            found.server = format!("https://{}", cluster::node::BALANCER);
        }
        drop(self.instance.own()?);
        let failed = "cannot prepare the node's keys";
        pki::save(&self.files.ca(), &found.ca, 0o644).during(failed)?;
        let got = identity::request(&bootstrap, &settings).await.during("the node gets no certificate")?;
        identity::save(&self.files, &settings, &found, got)?;
        self.files.save_settings(&settings).during("cannot write down what the node is")
    }

    /// Waits until the cluster takes the machine for a node that is ready.
    async fn ready(&self, node: Option<Started>, progress: &mut Progress) -> Result<(), Problem> {
        progress.start("waiting for the node to be ready");
        let path = self.files.kubeconfig();
        let own = client::connect::from_kubeconfig(&path).await.during(format!("cannot use {}", path.display()))?;
        let ready = |node: Option<&Node>| node.is_some_and(is_ready);
        tokio::select! {
            waited = kube::runtime::wait::await_condition(Api::<Node>::all(own), self.name, ready) => {
                waited.map(drop).during("cannot see whether the node is ready")?;
            }
            problem = background::broken(node) => return Err(problem),
        }
        progress.done(&format!("node {} is ready", self.name));
        Ok(())
    }
}

/// A node of this name that lives is somebody else.
async fn clash(client: &kube::Client, name: &str) -> Result<(), Problem> {
    let there = Api::<Node>::all(client.clone()).get_opt(name).await.during("cannot ask for nodes of the same name")?;
    match there {
        Some(node) if is_ready(&node) => Err(Problem::new(format!(
            "the cluster has a node called {name} already, and it is alive; choose another name with --node-name"
        ))),
        _ => Ok(()),
    }
}

/// What the cluster tells its nodes and masters.
async fn told(client: &kube::Client) -> Result<BTreeMap<String, String>, Problem> {
    let map = Api::<ConfigMap>::namespaced(client.clone(), "kube-system").get_opt(cluster::node::CONFIG_MAP).await;
    let map = map.during("cannot read what the cluster tells its nodes")?.ok_or_else(|| {
        Problem::new(
            "this cluster does not say what its nodes have to know; it was started by neither 'oxikube init' nor 'up'",
        )
    })?;
    Ok(map.data.unwrap_or_default())
}

/// The same for this node, and what it is told beside.
fn settings(args: &JoinArgs, told: &BTreeMap<String, String>, name: &str) -> Result<NodeSettings, Problem> {
    let text = told.get(cluster::node::CONFIG_KEY).map(String::as_str).unwrap_or_default();
    let common: NodeSettings =
        serde_json::from_str(text).during("cannot understand what the cluster tells its nodes")?;
    Ok(NodeSettings {
        node: name.to_owned(),
        address: Some(args.node_ip.map_or_else(compose::advertise_address, Ok)?),
        kubelet_port: args.kubelet_port,
        cgroup: args.cgroup_root.clone(),
        bootstrap: true,
        servers: cluster::node::servers(told),
        ..common
    })
}
