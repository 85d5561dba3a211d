//! What a plugin is called with. Pure.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cni::{PortMapping, Protocol};
use ipnet::Ipv4Net;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Failure, VERSIONS};
use crate::Config;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Add,
    Delete,
    Check,
}

/// One call.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) command: Command,
    pub(super) container: String,
    pub(super) netns: PathBuf,
    arguments: String,
    pub(super) configuration: Configuration,
}

/// The configuration on standard input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Configuration {
    pub(super) cni_version: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(flatten)]
    pub(super) network: Option<Network>,
    #[serde(default)]
    runtime_config: RuntimeConfig,
    #[serde(default)]
    pub(super) prev_result: Option<Value>,
}

/// Which network it is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Network {
    pub(super) instance: String,
    pub(super) dir: PathBuf,
    pub(super) cluster_cidr: Ipv4Net,
    pub(super) pod_cidr: Ipv4Net,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RuntimeConfig {
    port_mappings: Vec<Mapping>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mapping {
    host_port: i64,
    container_port: i64,
    #[serde(default)]
    protocol: String,
    #[serde(default, rename = "hostIP")]
    host_ip: String,
}

/// The configuration list that leads an engine to this plugin.
pub fn conflist(network: &Config, pod_cidr: Ipv4Net) -> String {
    let plugin = json!({
        "type": "oxikube",
        "instance": network.instance,
        "dir": network.dir,
        "clusterCidr": network.cluster_cidr,
        "podCidr": pod_cidr,
        "capabilities": {"portMappings": true},
    });
    format!("{:#}\n", json!({"cniVersion": "1.0.0", "name": network.instance, "plugins": [plugin]}))
}

/// The version that the caller speaks, for answers to what cannot be read otherwise.
pub(super) fn version_of(input: &[u8]) -> String {
    let value: Value = serde_json::from_slice(input).unwrap_or_default();
    value.get("cniVersion").and_then(Value::as_str).unwrap_or("1.0.0").to_owned()
}

impl Request {
    pub(super) fn read(variable: &dyn Fn(&str) -> Option<String>, input: &[u8]) -> Result<Self, Failure> {
        let command = match variable("CNI_COMMAND").as_deref() {
            Some("ADD") => Command::Add,
            Some("DEL") => Command::Delete,
            Some("CHECK") => Command::Check,
            other => return Err(Failure::Environment(format!("CNI_COMMAND is {:?}", other.unwrap_or_default()))),
        };
        let configuration: Configuration = serde_json::from_slice(input).map_err(|e| Failure::Decode(e.to_string()))?;
        if !VERSIONS.contains(&configuration.cni_version.as_str()) {
            return Err(Failure::Version(configuration.cni_version));
        }
        let wanted = |name: &str| {
            let value = variable(name).filter(|value| !value.is_empty());
            value.ok_or_else(|| Failure::Environment(format!("{name} is not set")))
        };
        let container = wanted("CNI_CONTAINERID")?;
        let interface = wanted("CNI_IFNAME")?;
        if configuration.kind != "loopback" && interface != "eth0" {
            return Err(Failure::Environment(format!("CNI_IFNAME is {interface:?}: the interface of a pod is eth0")));
        }
        // A namespace that has gone is no reason to keep an address.
        let netns =
            if command == Command::Delete { variable("CNI_NETNS").unwrap_or_default() } else { wanted("CNI_NETNS")? };
        let (netns, arguments) = (Path::new(&netns).to_owned(), variable("CNI_ARGS").unwrap_or_default());
        Ok(Self { command, container, netns, arguments, configuration })
    }

    /// One of the arguments, `KEY=VALUE;KEY=VALUE`; empty when it is not there.
    pub(super) fn argument(&self, name: &str) -> String {
        let mut pairs = self.arguments.split(';').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).unwrap_or_default()
    }
}

impl Configuration {
    pub(super) fn port_mappings(&self) -> Result<Vec<PortMapping>, Failure> {
        self.runtime_config.port_mappings.iter().filter(|mapping| mapping.host_port != 0).map(Mapping::read).collect()
    }
}

impl Mapping {
    fn read(&self) -> Result<PortMapping, Failure> {
        let port = |number: i64| {
            let port = u16::try_from(number).ok().filter(|port| *port > 0);
            port.ok_or_else(|| Failure::invalid(&format!("{number} is no port")))
        };
        let protocol = match self.protocol.to_ascii_lowercase().as_str() {
            "tcp" | "" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            other => return Err(Failure::invalid(&format!("{other:?} is no protocol"))),
        };
        let host_ip = match self.host_ip.as_str() {
            "" => None,
            text => Some(text.parse::<IpAddr>().map_err(|e| Failure::invalid(&format!("{text:?}: {e}")))?),
        };
        Ok(PortMapping {
            host_ip,
            host_port: port(self.host_port)?,
            container_port: port(self.container_port)?,
            protocol,
        })
    }
}
