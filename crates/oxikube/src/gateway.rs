//! Flags of the gateway of Ingresses.

use std::net::IpAddr;

use clap::Args;
use cluster::node::GatewayPorts;

/// At which ports Ingresses are served.
#[derive(Debug, Clone, Args)]
pub(crate) struct GatewayArgs {
    /// Port of a node at which Ingresses are served over HTTP; 0 for none
    #[arg(long, default_value_t = GatewayPorts::default().http, value_name = "PORT")]
    gateway_http_port: u16,
    /// Port of a node at which Ingresses are served over HTTPS; 0 for none
    #[arg(long, default_value_t = GatewayPorts::default().https, value_name = "PORT")]
    gateway_https_port: u16,
}

impl GatewayArgs {
    pub(crate) fn ports(&self) -> GatewayPorts {
        GatewayPorts { http: self.gateway_http_port, https: self.gateway_https_port }
    }

    /// The same flags again.
    pub(crate) fn to_arguments(&self) -> [String; 2] {
        [
            format!("--gateway-http-port={}", self.gateway_http_port),
            format!("--gateway-https-port={}", self.gateway_https_port),
        ]
    }
}

/// The configuration of a node's gateway; none when it has no port.
pub(crate) fn config(node: &str, address: IpAddr, ports: GatewayPorts) -> Option<gateway::Config> {
    let given = |port: u16| (port > 0).then_some(port);
    let config = gateway::Config {
        node_name: node.to_owned(),
        address,
        http_port: given(ports.http),
        https_port: given(ports.https).filter(|port| *port != ports.http),
    };
    (config.http_port.is_some() || config.https_port.is_some()).then_some(config)
}
