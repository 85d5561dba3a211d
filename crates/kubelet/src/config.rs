//! What a kubelet is told at its start.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Certificates of the kubelet's server.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// Certificate chain, PEM.
    pub cert_file: PathBuf,
    /// Private key, PEM.
    pub key_file: PathBuf,
    /// Who signs the certificates of clients, PEM.
    pub client_ca_file: Option<PathBuf>,
    /// The cluster is asked for the certificate, at first and before its end.
    pub bootstrap: bool,
}

/// What a kubelet is told at its start. Names follow upstream's `KubeletConfiguration`.
#[derive(Clone)]
pub struct Config {
    /// Name of the Node object.
    pub node_name: String,
    /// Labels of the Node object at registration.
    pub node_labels: BTreeMap<String, String>,
    /// Taints of the Node object at registration: key, value, effect.
    pub register_with_taints: Vec<(String, String, String)>,
    /// Addresses of the node; the first is where its server is reached.
    pub node_ips: Vec<IpAddr>,
    /// Where pods' volumes are kept.
    pub root_dir: PathBuf,
    /// Where containers' logs are kept.
    pub pod_logs_dir: PathBuf,
    /// Where the folders of local volumes are; none: this node keeps none.
    pub local_path_dir: Option<PathBuf>,
    /// Folder of static pods.
    pub static_pod_path: Option<PathBuf>,
    /// Where the server listens.
    pub address: SocketAddr,
    /// Port that the Node object tells, when it is not that of `address`.
    pub advertise_port: Option<u16>,
    /// Certificates of the server; without them there is no server.
    pub tls: Option<ServerTls>,
    /// Pods on this node at most.
    pub max_pods: usize,
    /// Kernel settings that pods may change beside the safe ones; `*` at the end stands for anything.
    pub allowed_unsafe_sysctls: Vec<String>,
    /// Name servers for pods.
    pub cluster_dns: Vec<IpAddr>,
    /// Domain of the cluster.
    pub cluster_domain: String,
    /// The node's own resolver configuration.
    pub resolv_conf: PathBuf,
    /// Parent of all pods' cgroups.
    pub cgroup_root: String,
    /// `cgroupfs` or `systemd`.
    pub cgroup_driver: String,
    /// Pods' cgroups are made and removed by the kubelet; off where the engine does it.
    pub cgroups_per_qos: bool,
    /// Kept for the system: name of resource, quantity.
    pub system_reserved: BTreeMap<String, String>,
    /// Hard eviction thresholds: signal, quantity or percentage.
    pub eviction_hard: BTreeMap<String, String>,
    /// The node's conditions tell of a shortage for at least so long.
    pub eviction_pressure_transition_period: Duration,
    /// Shortages are looked for this often.
    pub eviction_period: Duration,
    /// Node status is told this often even if nothing changed.
    pub node_status_report_frequency: Duration,
    /// What changes on the node is looked for this often.
    pub node_status_update_frequency: Duration,
    /// The node's lease lasts this long; it is renewed four times in it.
    pub node_lease_duration: Duration,
    /// The engine is asked for everything this often, in case an event was lost.
    pub relist_period: Duration,
    /// A log file is rotated when it is larger, in bytes.
    pub container_log_max_size: u64,
    /// Log files kept of one container.
    pub container_log_max_files: usize,
    /// Unused images are removed when the disk is fuller, in percent.
    pub image_gc_high_threshold: u8,
    /// Secrets and tokens are kept in memory file systems; only tests without privileges turn it off.
    pub memory_backed_secrets: bool,
}

impl Config {
    /// The defaults for a node, with its data below `root_dir`.
    pub fn new(node_name: impl Into<String>, root_dir: impl Into<PathBuf>) -> Self {
        let root_dir = root_dir.into();
        Self {
            node_name: node_name.into(),
            node_labels: BTreeMap::new(),
            register_with_taints: Vec::new(),
            node_ips: Vec::new(),
            pod_logs_dir: root_dir.join("pod-logs"),
            root_dir,
            local_path_dir: None,
            static_pod_path: None,
            address: SocketAddr::from(([0, 0, 0, 0], 10250)),
            advertise_port: None,
            tls: None,
            max_pods: 110,
            allowed_unsafe_sysctls: Vec::new(),
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            cgroup_root: "/kubepods".to_owned(),
            cgroup_driver: "cgroupfs".to_owned(),
            cgroups_per_qos: false,
            system_reserved: BTreeMap::new(),
            // Upstream's 10 and 15 % of a disk are, of a large one that others use too, too much to lie idle.
            eviction_hard: BTreeMap::from([
                ("memory.available".to_owned(), "100Mi".to_owned()),
                ("nodefs.available".to_owned(), "1Gi".to_owned()),
                ("nodefs.inodesFree".to_owned(), "5%".to_owned()),
                ("imagefs.available".to_owned(), "1Gi".to_owned()),
            ]),
            eviction_pressure_transition_period: Duration::from_secs(300),
            eviction_period: Duration::from_secs(10),
            node_status_report_frequency: Duration::from_secs(300),
            node_status_update_frequency: Duration::from_secs(10),
            node_lease_duration: Duration::from_secs(40),
            relist_period: Duration::from_secs(30),
            container_log_max_size: 10 << 20,
            container_log_max_files: 5,
            image_gc_high_threshold: 95,
            memory_backed_secrets: true,
        }
    }

    pub(crate) fn pod_dir(&self, uid: &str) -> PathBuf {
        self.root_dir.join("pods").join(uid)
    }
}
