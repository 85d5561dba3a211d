//! A node: pod network, container engine, kubelet, service proxy, resolver, gateway; beside a control plane or alone.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use client::Informers;
use cluster::node::NodeSettings;
use dns::Dns;
use gateway::Gateway;
use ipnet::{IpNet, Ipv4Net};
use kubelet::{Kubelet, ServerTls};
use podnet::PodNet;
use proxy::Proxy;
use sys::netlink::Netlink;

use super::Roles;
use super::engine::{self, Foreign};
use crate::capabilities;
use crate::images;
use crate::instance::Instance;
use crate::problem::{During, Problem};

/// The parts of a node that hold something on the host.
pub(crate) struct Node {
    pub(crate) network: Arc<PodNet>,
    pub(crate) engine: Arc<dyn cri::Local>,
    settings: NodeSettings,
    /// What an engine that is not of this project needs.
    foreign: Option<Foreign>,
}

/// Who the parts of a node are to the API server.
pub(crate) struct Clients {
    /// The kubelet, and whoever keeps the routes to other nodes.
    pub(crate) kubelet: kube::Client,
    pub(crate) proxy: kube::Client,
    pub(crate) dns: kube::Client,
    pub(crate) gateway: kube::Client,
}

/// The range of pods; only IPv4 is there.
fn ipv4(range: IpNet) -> Result<Ipv4Net, Problem> {
    match range {
        IpNet::V4(range) => Ok(range),
        IpNet::V6(range) => {
            Err(Problem::new(format!("pods get IPv4 addresses for the present; {range} is not such a range")))
        }
    }
}

impl Node {
    /// Opens network and engine, and takes up what an earlier process left running.
    pub(crate) async fn open(instance: &Instance, settings: &NodeSettings) -> Result<Self, Problem> {
        capabilities::check()?;
        let links = podnet::Config {
            instance: settings.name.clone(),
            dir: instance.path("podnet"),
            cluster_cidr: ipv4(settings.cluster_cidr)?,
            mtu: None,
        };
        let network = Arc::new(PodNet::open(links.clone()).during("cannot open the pod network")?);
        let endpoint = instance.engine()?;
        let (engine, foreign) = engine::open(instance, &endpoint, links, settings.cgroup(), network.clone()).await?;
        Ok(Self { network, engine, settings: settings.clone(), foreign })
    }

    /// Gives the engine what it needs before the first pod.
    pub(crate) async fn prepare(&self) -> Result<(), Problem> {
        match &self.foreign {
            Some(foreign) => foreign.prepare(&*self.engine).await,
            None => Ok(()),
        }
    }

    /// The kubelet's configuration.
    pub(crate) fn kubelet_config(&self, instance: &Instance, address: IpAddr, tls: ServerTls) -> kubelet::Config {
        let settings = &self.settings;
        let mut config = kubelet::Config::new(&settings.node, instance.path("kubelet"));
        config.pod_logs_dir = instance.path("logs/pods");
        config.local_path_dir = Some(instance.path("local-path"));
        config.node_ips = vec![address];
        config.address = SocketAddr::from(([0, 0, 0, 0], settings.kubelet_port));
        config.cluster_dns = vec![settings.cluster_dns];
        config.cluster_domain.clone_from(&settings.cluster_domain);
        config.cgroup_root = format!("/{}", settings.cgroup());
        config.node_lease_duration = Duration::from_secs(settings.lease_duration_seconds.into());
        // An engine of others leaves the pods' control groups to the kubelet.
        config.cgroups_per_qos = self.foreign.is_some();
        config.tls = Some(tls);
        config
    }

    /// Runs every part of the node.
    pub(crate) async fn run(
        &self,
        roles: &mut Roles,
        instance: &Instance,
        kubelet: kubelet::Config,
        clients: Clients,
    ) -> Result<(), Problem> {
        self.prepare().await?;
        let address = kubelet.node_ips.first().copied();
        let ways = self.ways(&Informers::new(clients.kubelet.clone()))?;
        let kubelet = Kubelet::build(kubelet, clients.kubelet, self.engine.clone()).await;
        let kubelet = kubelet.during("cannot build the kubelet")?;
        let door = images::serve(instance.path("run/images.sock"), self.engine.clone(), roles.stop());
        roles.run("images", door);
        roles.run("kubelet", kubelet.run(roles.stop()));
        roles.run("podnet", ways.run(roles.stop()));
        if let Some(address) = address
            && let Some(config) = crate::gateway::config(&self.settings.node, address, self.settings.gateway)
        {
            let gateway = Gateway::build(config, &Informers::new(clients.gateway));
            roles.run("gateway", gateway.run(roles.stop()));
        }
        let proxy = Proxy::build(self.proxy_config(), &Informers::new(clients.proxy));
        roles.run("proxy", proxy.run(roles.stop()));
        if let Some(dns) = self.dns(clients.dns).await? {
            roles.run("dns", dns.run(roles.stop()));
        }
        Ok(())
    }

    /// The ways to the pods of other nodes.
    pub(crate) fn ways(&self, informers: &Informers) -> Result<podnet::Nodes, Problem> {
        let settings = &self.settings;
        Ok(podnet::Nodes::new(&settings.name, &settings.node, ipv4(settings.cluster_cidr)?, informers))
    }

    fn proxy_config(&self) -> proxy::Config {
        let settings = &self.settings;
        let answered_here = match settings.cluster_dns {
            IpAddr::V4(address) => vec![address],
            IpAddr::V6(_) => Vec::new(),
        };
        proxy::Config {
            instance: settings.name.clone(),
            node_name: settings.node.clone(),
            cluster_cidr: ipv4(settings.cluster_cidr).ok(),
            answered_here,
        }
    }

    /// Puts the address of the cluster's DNS on the bridge, where it goes with the bridge, and answers there. None when
    /// the address is not a service's: then somebody else answers.
    async fn dns(&self, client: kube::Client) -> Result<Option<Dns>, Problem> {
        let address = self.settings.cluster_dns;
        if !self.settings.service_cidr.contains(&address) {
            return Ok(None);
        }
        let bridge = self.network.bridge();
        let on_bridge = async {
            let netlink = Netlink::here()?;
            netlink.bridge(bridge).await?;
            netlink.address(bridge, address, if address.is_ipv4() { 32 } else { 128 }).await?;
            netlink.up(bridge).await
        };
        on_bridge.await.during(format!("cannot put {address} on the bridge {bridge}"))?;
        let config = dns::Config {
            listen: vec![SocketAddr::new(address, 53)],
            cluster_domain: self.settings.cluster_domain.clone(),
            upstreams: Vec::new(),
            resolv_conf: "/etc/resolv.conf".into(),
            node_name: Some(self.settings.node.clone()),
        };
        Dns::build(config, client).await.map(Some).during("cannot start the resolver")
    }

    /// Takes everything off the host.
    pub(crate) async fn teardown(&self) -> Result<(), Problem> {
        self.engine.purge().await.during("cannot remove the containers")?;
        if let Some(foreign) = &self.foreign {
            foreign.remove(self.settings.cgroup()).await?;
        }
        self.network.teardown().await.during("cannot remove the pod network")
    }
}
