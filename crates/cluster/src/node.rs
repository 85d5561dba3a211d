//! What a node is told, and where it finds it: a data directory with everything to run one.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use crate::pki::{Leaf, Pki, PkiError, write};

/// The ConfigMap in `kube-system` from which a machine that joins takes what nodes are told.
pub const CONFIG_MAP: &str = "oxikube-node";
/// Its key with that: [`NodeSettings`] as JSON, of no node in particular.
pub const CONFIG_KEY: &str = "node.json";

/// Its key with the flags of a master, for those that join as one.
pub const MASTER_KEY: &str = "master.json";
/// What its keys begin with that say where the API server of a master is: the master's name follows.
const SERVER: &str = "server.";

/// The key of a master's API server.
pub fn server_key(master: &str) -> String {
    format!("{SERVER}{master}")
}

/// The API servers of all masters, where they share an etcd; what cannot be understood is left out.
pub fn servers(told: &BTreeMap<String, String>) -> Vec<SocketAddr> {
    told.iter().filter(|(key, _)| key.starts_with(SERVER)).filter_map(|(_, address)| address.parse().ok()).collect()
}

/// Where a node's own balancer listens, when there are several API servers.
pub const BALANCER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7443);

/// What a node is told. The file is `DIR/node.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSettings {
    /// Name of the instance: bridge, tables and control groups carry it.
    pub name: String,
    /// Name of the node.
    pub node: String,
    /// The node's address; none means the one that it reaches others from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Port of the kubelet.
    pub kubelet_port: u16,
    /// Addresses of all pods.
    pub cluster_cidr: IpNet,
    /// Addresses of services.
    pub service_cidr: IpNet,
    /// Address of the cluster's DNS.
    pub cluster_dns: IpAddr,
    /// Domain of the cluster.
    pub cluster_domain: String,
    /// How long the node's lease lasts; it is renewed four times in it.
    pub lease_duration_seconds: u32,
    /// Control group of everything on the node, where it is not called as the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// The node asks the cluster for its certificates; otherwise whoever made it gives them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bootstrap: bool,
    /// The API servers, where there are several: the node passes its own connections on to one that is alive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<SocketAddr>,
    /// Where the node's gateway serves Ingresses.
    #[serde(default)]
    pub gateway: GatewayPorts,
}

/// Ports of a gateway, 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayPorts {
    /// Of HTTP.
    pub http: u16,
    /// Of HTTPS.
    pub https: u16,
}

impl Default for GatewayPorts {
    fn default() -> Self {
        Self { http: 80, https: 443 }
    }
}

/// Why a node's files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NodeFileError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It says something else.
    #[error("{path} does not say what a node has to know: {source}")]
    Content {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Keys or certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

impl NodeSettings {
    /// The defaults for a node.
    pub fn new(name: &str, node: &str) -> Self {
        Self {
            name: name.to_owned(),
            node: node.to_owned(),
            address: None,
            kubelet_port: 10250,
            cluster_cidr: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16)),
            service_cidr: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16)),
            cluster_dns: IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10)),
            cluster_domain: "cluster.local".to_owned(),
            lease_duration_seconds: 40,
            cgroup: None,
            bootstrap: false,
            servers: Vec::new(),
            gateway: GatewayPorts::default(),
        }
    }

    /// Control group of everything on the node, without a slash in front.
    pub fn cgroup(&self) -> &str {
        self.cgroup.as_deref().unwrap_or(&self.name)
    }
}

/// The files of a node below its data directory.
#[derive(Debug, Clone)]
pub struct NodeFiles {
    root: PathBuf,
}

impl NodeFiles {
    /// Of the node with this data directory.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// What the node is told.
    pub fn settings_file(&self) -> PathBuf {
        self.root.join("node.json")
    }

    /// How it reaches the API.
    pub fn kubeconfig(&self) -> PathBuf {
        self.root.join("kubelet.kubeconfig")
    }

    /// The CA that it trusts.
    pub fn ca(&self) -> PathBuf {
        self.root.join("pki/ca.crt")
    }

    /// Serving certificate of its kubelet.
    pub fn serving_certificate(&self) -> PathBuf {
        self.root.join("pki/kubelet.crt")
    }

    /// Key of that certificate.
    pub fn serving_key(&self) -> PathBuf {
        self.root.join("pki/kubelet.key")
    }

    /// Reads what the node is told; none when this is no node's directory.
    ///
    /// # Errors
    /// When the file is there and cannot be used.
    pub fn settings(&self) -> Result<Option<NodeSettings>, NodeFileError> {
        let path = self.settings_file();
        match fs::read(&path) {
            Ok(bytes) => {
                let parsed = serde_json::from_slice(&bytes);
                parsed.map(Some).map_err(|source| NodeFileError::Content { path, source })
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(NodeFileError::Io { path, source }),
        }
    }

    /// Writes what the node is told.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save_settings(&self, settings: &NodeSettings) -> Result<(), NodeFileError> {
        let path = self.settings_file();
        let text = serde_json::to_string_pretty(settings);
        let text = text.map_err(|source| NodeFileError::Content { path: path.clone(), source })?;
        Ok(write(&path, &text, 0o644)?)
    }

    /// Makes everything that the node needs, by the hand of whoever has the CA's key. What is there and sound stays.
    ///
    /// # Errors
    /// When files cannot be read or written.
    pub fn furnish(&self, settings: &NodeSettings, pki: &Pki, server: &str) -> Result<(), NodeFileError> {
        let folder = self.root.join("pki");
        let user = user(&settings.node);
        let client = pki.leaf_in(&folder, "kubelet-client", &Leaf::client(&user, &["system:nodes"]))?;
        pki.leaf_in(&folder, "kubelet", &serving(&settings.node, settings.address))?;
        write(&self.ca(), pki.ca(), 0o644)?;
        let text = crate::kubeconfig::render(server, pki.ca(), &settings.name, &user, &client);
        crate::kubeconfig::save(&self.kubeconfig(), &text)?;
        self.save_settings(settings)
    }
}

/// The user that a node is.
pub fn user(node: &str) -> String {
    format!("system:node:{node}")
}

/// What the serving certificate of a node's kubelet says.
pub fn serving(node: &str, address: Option<IpAddr>) -> Leaf {
    Leaf {
        name: user(node),
        groups: vec!["system:nodes".into()],
        dns_names: vec![node.to_owned(), "localhost".into()],
        addresses: address.into_iter().chain([IpAddr::V4(Ipv4Addr::LOCALHOST)]).collect(),
        also_client: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_furnished_node_has_what_it_needs_and_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::open(&folder.path().join("pki")).unwrap();
        let files = NodeFiles::new(&folder.path().join("nodes/n-1"));
        let mut settings = NodeSettings::new("n", "n-1");
        settings.address = Some("192.0.2.1".parse().unwrap());
        files.furnish(&settings, &pki, "https://192.0.2.9:6443").unwrap();
        let key = fs::read(files.serving_key()).unwrap();
        files.furnish(&settings, &pki, "https://192.0.2.9:6443").unwrap();
        assert_eq!(key, fs::read(files.serving_key()).unwrap());
        assert_eq!(files.settings().unwrap(), Some(settings));
        assert!(fs::read_to_string(files.kubeconfig()).unwrap().contains("system:node:n-1"));
    }

    #[test]
    fn a_node_is_told_where_all_masters_are() {
        let told = [(server_key("m1"), "192.0.2.1:6443"), (CONFIG_KEY.into(), "{}"), (server_key("m2"), "nowhere")];
        let told = told.into_iter().map(|(key, value)| (key, value.to_owned())).collect();
        assert_eq!(servers(&told), ["192.0.2.1:6443".parse().unwrap()]);
    }

    #[test]
    fn a_directory_of_something_else_is_no_nodes() {
        let folder = tempfile::tempdir().unwrap();
        let files = NodeFiles::new(folder.path());
        assert_eq!(files.settings().unwrap(), None);
        fs::write(files.settings_file(), "{}").unwrap();
        assert!(files.settings().unwrap_err().to_string().contains("does not say"));
    }
}
