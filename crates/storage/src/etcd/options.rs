//! Settings of the engine.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

/// What to trust and what to show.
#[derive(Clone, Default)]
pub struct Tls {
    /// CA of the members' certificates, PEM; none: the CAs that the system trusts are not used either.
    pub ca: Option<String>,
    /// Certificate and key that this client shows, PEM.
    pub identity: Option<(String, String)>,
}

/// Settings of the engine.
#[derive(Clone)]
pub struct Options {
    /// Addresses of the members, the nearest first: `http://…` or `https://…`.
    pub endpoints: Vec<String>,
    /// For `https`.
    pub tls: Option<Tls>,
    /// What stands in etcd for `/registry`.
    pub prefix: String,
    /// Bytes of superseded values that are kept for watches and old lists.
    pub history_bytes: usize,
    /// How often history is dropped in etcd; a revision stays readable there between once and twice this time.
    pub compaction: Duration,
    /// Brings a value that another program wrote into the form that this one reads.
    pub decode: fn(Bytes) -> Bytes,
    /// How long to wait for etcd at the start.
    pub patience: Duration,
    /// Names that the cluster is known by; state of a cluster that has none of them is refused. None: any is good.
    pub cluster: BTreeSet<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:2379".into()],
            tls: None,
            prefix: "/registry".into(),
            history_bytes: 32 << 20,
            compaction: Duration::from_secs(300),
            decode: |value| value,
            patience: Duration::from_secs(30),
            cluster: BTreeSet::new(),
        }
    }
}

/// Why the engine did not start.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// No member is named.
    #[error("no etcd server is named")]
    NoEndpoints,
    /// An address or a certificate cannot be used.
    #[error("the etcd server {endpoint} cannot be used: {why}")]
    Endpoint {
        /// Which one.
        endpoint: String,
        /// What is wrong.
        why: String,
    },
    /// No member answered in time.
    #[error("{why} (asked at {endpoints})")]
    Unreachable {
        /// All of them.
        endpoints: String,
        /// What the last attempt said.
        why: String,
    },
    /// It is none that is known to do.
    #[error(
        "etcd at {endpoints} has version {version}; what is known to work is version 3.4 and all later ones of version 3"
    )]
    Version {
        /// All of them.
        endpoints: String,
        /// What it says.
        version: String,
    },
    /// They are not one.
    #[error("{one} and {other} are members of different etcd clusters; name the members of one")]
    Strangers {
        /// One of them.
        one: String,
        /// Another.
        other: String,
    },
    /// What is in it is not for this program.
    #[error(
        "what etcd at {endpoints} holds was written by a newer version (format {format}, this one knows {known}); use that version"
    )]
    Newer {
        /// All of them.
        endpoints: String,
        /// What is there.
        format: u32,
        /// What can be read.
        known: u32,
    },
    /// What is in it is somebody else's.
    #[error(
        "etcd at {endpoints} holds the state of another cluster; name this one's etcd, or another prefix in it, or, if it is this one's after all, remove the key {key} there"
    )]
    Foreign {
        /// All of them.
        endpoints: String,
        /// Where the owner is written.
        key: String,
    },
}
