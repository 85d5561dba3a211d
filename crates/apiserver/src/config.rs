//! Settings of the API server.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use ipnet::IpNet;

/// A certificate and its key, PEM.
#[derive(Clone)]
pub struct KeyPair {
    /// Certificate chain, PEM.
    pub certificate: String,
    /// Private key, PEM (PKCS#8).
    pub key: String,
}

/// Settings of the API server.
#[derive(Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Address that the `kubernetes` Service leads to.
    pub advertise_address: IpAddr,
    /// Port of it.
    pub advertise_port: u16,
    /// Certificate that it shows.
    pub serving: KeyPair,
    /// CA whose client certificates it trusts, PEM.
    pub client_ca: String,
    /// Certificate that it shows to kubelets.
    pub kubelet_client: KeyPair,
    /// CA of the kubelets' certificates, PEM.
    pub kubelet_ca: String,
    /// Key that signs service-account tokens, PEM (ECDSA P-256, PKCS#8).
    pub token_key: String,
    /// Public half of it, PEM.
    pub token_public_key: String,
    /// Issuer of service-account tokens, and audience of the API.
    pub issuer: String,
    /// Address range of services.
    pub service_cidr: IpNet,
    /// Address of the cluster's DNS: the Service `kube-dns` gets it when it lies in the range of services.
    pub cluster_dns: Option<IpAddr>,
    /// Ports of NodePort services.
    pub node_ports: RangeInclusive<u16>,
    /// Seconds that pods stay on a node that is not ready, unless they say otherwise.
    pub not_ready_toleration_seconds: i64,
    /// Seconds that pods stay on a node that is not reachable, unless they say otherwise.
    pub unreachable_toleration_seconds: i64,
    /// Seconds that Events are kept.
    pub event_ttl_seconds: u64,
    /// Where to write the audit log.
    pub audit_log: Option<PathBuf>,
    /// Requests in flight that only read.
    pub max_reads: usize,
    /// Requests in flight that change something.
    pub max_writes: usize,
    /// Connections.
    pub max_connections: usize,
}
