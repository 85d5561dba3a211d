//! What a plugin answers. Pure.

use std::net::Ipv4Addr;
use std::path::Path;

use serde_json::{Value, json};

use super::config::Configuration;

/// Versions of the contract that are spoken.
pub(super) const VERSIONS: [&str; 4] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0"];

/// Why a call failed; the numbers are the contract's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Failure {
    #[error("incompatible CNI version {0:?}")]
    Version(String),
    #[error("{0}")]
    Unknown(String),
    #[error("invalid environment: {0}")]
    Environment(String),
    #[error("cannot read or write: {0}")]
    Io(String),
    #[error("the configuration cannot be read: {0}")]
    Decode(String),
    #[error("invalid configuration: {0}")]
    Invalid(String),
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    pub(super) fn invalid(text: &str) -> Self {
        Self::Invalid(text.to_owned())
    }

    fn code(&self) -> u32 {
        match self {
            Self::Version(_) => 1,
            Self::Unknown(_) => 3,
            Self::Environment(_) => 4,
            Self::Io(_) => 5,
            Self::Decode(_) => 6,
            Self::Invalid(_) => 7,
            Self::Failed(_) => 100,
        }
    }
}

pub(super) fn failure(failure: &Failure, version: String) -> Value {
    json!({"cniVersion": version, "code": failure.code(), "msg": failure.to_string()})
}

pub(super) fn versions(version: String) -> Value {
    json!({"cniVersion": version, "supportedVersions": VERSIONS})
}

/// Before 1.0.0 an address says of which family it is.
fn address(configuration: &Configuration, mut ip: Value) -> Value {
    if configuration.cni_version != "1.0.0"
        && let Some(fields) = ip.as_object_mut()
    {
        fields.insert("version".to_owned(), json!("4"));
    }
    ip
}

pub(super) fn added(
    configuration: &Configuration,
    link: &str,
    netns: &Path,
    own: Ipv4Addr,
    gateway: Ipv4Addr,
) -> Value {
    let ip = address(configuration, json!({"interface": 1, "address": format!("{own}/32"), "gateway": gateway}));
    json!({
        "cniVersion": configuration.cni_version,
        "interfaces": [{"name": link}, {"name": "eth0", "sandbox": netns}],
        "ips": [ip],
        "routes": [{"dst": "0.0.0.0/0", "gw": gateway}],
        "dns": {},
    })
}

/// A chained plugin hands on what came before it.
pub(super) fn loopback(configuration: &Configuration, netns: &Path) -> Value {
    if let Some(before) = &configuration.prev_result {
        return before.clone();
    }
    let ip = address(configuration, json!({"interface": 0, "address": "127.0.0.1/8"}));
    json!({
        "cniVersion": configuration.cni_version,
        "interfaces": [{"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": netns}],
        "ips": [ip],
        "dns": {},
    })
}
