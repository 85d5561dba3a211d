//! The node's half: pod network, container engine, kubelet.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use cluster::pki::Pki;
use dns::Dns;
use ipnet::IpNet;
use kubelet::{Kubelet, ServerTls};
use podnet::PodNet;
use sys::netlink::Netlink;

use super::Endpoint;
use super::engine::{self, Foreign};
use crate::cli::ServerArgs;
use crate::instance::Instance;
use crate::problem::{During, Problem};

/// The parts of a node that hold something on the host.
pub(crate) struct Node {
    pub(crate) network: Arc<PodNet>,
    pub(crate) engine: Arc<dyn cri::Local>,
    name: String,
    /// What an engine that is not of this project needs.
    foreign: Option<Foreign>,
}

impl Node {
    /// Opens network and engine, and takes up what an earlier process left running.
    pub(crate) async fn open(
        instance: &Instance,
        name: &str,
        cluster_cidr: IpNet,
        endpoint: &Endpoint,
    ) -> Result<Self, Problem> {
        let IpNet::V4(cluster_cidr) = cluster_cidr else {
            return Err(Problem::new(format!(
                "pods get IPv4 addresses for the present; {cluster_cidr} is not such a range"
            )));
        };
        let settings =
            podnet::Config { instance: name.to_owned(), dir: instance.path("podnet"), cluster_cidr, mtu: None };
        let network = Arc::new(PodNet::open(settings.clone()).during("cannot open the pod network")?);
        let (engine, foreign) = engine::open(instance, endpoint, settings, network.clone()).await?;
        Ok(Self { network, engine, name: name.to_owned(), foreign })
    }

    /// Gives the engine what it needs before the first pod.
    pub(crate) async fn prepare(&self) -> Result<(), Problem> {
        match &self.foreign {
            Some(foreign) => foreign.prepare(&*self.engine).await,
            None => Ok(()),
        }
    }

    /// Builds the kubelet over the engine.
    pub(crate) async fn kubelet(
        &self,
        args: &ServerArgs,
        instance: &Instance,
        pki: &Pki,
        name: &str,
        address: IpAddr,
        client: kube::Client,
    ) -> Result<Kubelet, Problem> {
        super::config::kubelet_certificate(pki, name, address)?;
        let mut config = kubelet::Config::new(name, instance.path("kubelet"));
        config.pod_logs_dir = instance.path("logs/pods");
        config.local_path_dir = Some(instance.path("local-path"));
        config.node_ips = vec![address];
        config.address = SocketAddr::from(([0, 0, 0, 0], args.kubelet_port));
        config.cluster_dns = vec![args.cluster_dns];
        config.cgroup_root = format!("/{}", args.name);
        config.cgroups_per_qos = self.manages_cgroups();
        config.tls = Some(ServerTls {
            cert_file: instance.path("pki/kubelet.crt"),
            key_file: instance.path("pki/kubelet.key"),
            client_ca_file: Some(instance.path("pki/ca.crt")),
        });
        Kubelet::build(config, client, self.engine.clone()).await.during("cannot build the kubelet")
    }

    /// Whether the kubelet makes and removes the pods' control groups, because the engine does not.
    pub(crate) fn manages_cgroups(&self) -> bool {
        self.foreign.is_some()
    }

    /// Puts the address of the cluster's DNS on the bridge, where it goes with the bridge, and answers there. None when
    /// the address is not a service's: then somebody else answers.
    pub(crate) async fn dns(&self, args: &ServerArgs, client: kube::Client) -> Result<Option<Dns>, Problem> {
        let address = args.cluster_dns;
        if !args.service_cluster_ip_range.contains(&address) {
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
            cluster_domain: "cluster.local".into(),
            upstreams: Vec::new(),
            resolv_conf: "/etc/resolv.conf".into(),
        };
        Dns::build(config, client).await.map(Some).during("cannot start the resolver")
    }

    /// Takes everything off the host.
    pub(crate) async fn teardown(&self) -> Result<(), Problem> {
        self.engine.purge().await.during("cannot remove the containers")?;
        if let Some(foreign) = &self.foreign {
            foreign.remove(&self.name).await?;
        }
        self.network.teardown().await.during("cannot remove the pod network")
    }
}
