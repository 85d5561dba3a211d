//! What all workers of a kubelet share.

use std::net::IpAddr;
use std::sync::Arc;

use client::{EventRecorder, Informer};
use cri::Engine;
use cri::v1::DnsConfig;
use tokio::sync::watch;

use crate::config::Config;
use crate::container::Allocatable;
use crate::eviction::Pressure;
use crate::images::Images;
use crate::objects::Objects;
use crate::probes::Prober;
use crate::services::Service;
use crate::volumes::Volumes;

pub(crate) struct Context {
    pub(crate) config: Arc<Config>,
    pub(crate) client: kube::Client,
    pub(crate) engine: Arc<dyn Engine>,
    /// Name of the engine, as container ids carry it.
    pub(crate) runtime: String,
    pub(crate) recorder: EventRecorder,
    pub(crate) objects: Arc<Objects>,
    pub(crate) volumes: Volumes,
    pub(crate) images: Images,
    pub(crate) services: Informer<Service>,
    pub(crate) prober: Arc<Prober>,
    pub(crate) host_ips: Vec<String>,
    pub(crate) allocatable: Allocatable,
    pub(crate) memory_capacity: i64,
    /// What the node is short of.
    pub(crate) pressure: watch::Sender<Pressure>,
}

impl Context {
    /// The node's own resolver configuration, as it is now.
    pub(crate) fn host_dns(&self) -> DnsConfig {
        match std::fs::read_to_string(&self.config.resolv_conf) {
            Ok(text) => crate::dns::parse(&text),
            Err(error) => {
                tracing::debug!(%error, path = %self.config.resolv_conf.display(), "resolver configuration not read");
                DnsConfig::default()
            }
        }
    }
}

/// Addresses of this host that others can use.
pub(crate) fn host_addresses(config: &Config) -> Vec<IpAddr> {
    if !config.node_ips.is_empty() {
        return config.node_ips.clone();
    }
    let found = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let found = found.filter_map(|interface| interface.address?.as_sockaddr_in().map(|address| address.ip()));
    let usable = found.filter(|ip| !ip.is_loopback() && !ip.is_link_local());
    vec![usable.map(IpAddr::from).next().unwrap_or(IpAddr::from([127, 0, 0, 1]))]
}
