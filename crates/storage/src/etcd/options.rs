//! Settings of the engine.

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
    #[error("etcd at {endpoints} does not answer: {why}")]
    Unreachable {
        /// All of them.
        endpoints: String,
        /// What the last attempt said.
        why: String,
    },
}
