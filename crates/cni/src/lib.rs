//! The contract between a container engine and the pod network, as a Rust trait.
//!
//! An engine calls it once for every sandbox it makes and once when the sandbox goes. The network may live in
//! this process (`podnet`) or behind a CNI plugin binary; the engine cannot tell.
//! Knows nothing of Kubernetes objects and does no I/O itself.
//!
//! Modelled on the operations of the Container Network Interface, <https://www.cni.dev/docs/spec/>.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// What identifies the sandbox that is to be attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Sandbox id, unique on the node.
    pub sandbox_id: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// Path of the pinned network namespace.
    pub netns: PathBuf,
    /// Ports of the host that lead to the pod.
    pub port_mappings: Vec<PortMapping>,
}

/// One port of the host that leads to a port of the pod (`hostPort`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// Address of the host to listen on; none means all.
    pub host_ip: Option<IpAddr>,
    /// Port of the host, 1-65535.
    pub host_port: u16,
    /// Port of the pod, 1-65535.
    pub container_port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

/// Transport protocol of a port mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

/// What the sandbox got.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attached {
    /// Addresses of the pod, the primary one first.
    pub addresses: Vec<IpAddr>,
}

/// Why a sandbox could not be attached or detached.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The node has no address range yet.
    #[error("the pod network is not ready: {0}")]
    NotReady(String),
    /// All addresses of the node's range are taken.
    #[error("no free address in {0}")]
    Exhausted(String),
    /// A kernel or plugin operation failed.
    #[error("{operation} for sandbox {sandbox}: {cause}")]
    Failed {
        /// What was being done.
        operation: &'static str,
        /// For which sandbox.
        sandbox: String,
        /// What went wrong.
        cause: String,
    },
}

/// The pod network as an engine sees it. All operations are idempotent.
#[async_trait]
pub trait PodNetwork: Send + Sync {
    /// Gives the sandbox an interface `eth0`, addresses and routes.
    async fn attach(&self, what: &Attachment) -> Result<Attached, NetworkError>;
    /// Takes them away; succeeds when there is nothing to take.
    async fn detach(&self, sandbox_id: &str, netns: &Path) -> Result<(), NetworkError>;
    /// `Ok` when sandboxes can be attached, else the reason why not.
    async fn ready(&self) -> Result<(), NetworkError>;
    /// Tells the network the node's pod address range, as soon as the node has one and again after every start. A
    /// network that learns it elsewhere ignores it.
    async fn set_pod_cidr(&self, _cidr: &str) -> Result<(), NetworkError> {
        Ok(())
    }
}
