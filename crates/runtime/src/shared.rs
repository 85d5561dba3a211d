//! What the engines of this crate do alike.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cni::{PortMapping, Protocol};
use cri::v1::{self, UInt64Value};
use cri::{CriError, Duplex};
use prost::Message;
use sys::cgroup::Stats;

/// Most output that `exec_sync` collects.
pub(crate) const MAX_OUTPUT: u64 = 16 << 20;

/// Now, in nanoseconds since 1970.
pub(crate) fn now() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// An error with its causes.
pub(crate) fn internal(error: impl std::error::Error) -> CriError {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    CriError::Internal(text)
}

/// CRI's message as text for a record.
pub(crate) fn pack(message: &impl Message) -> String {
    STANDARD.encode(message.encode_to_vec())
}

pub(crate) fn unpack<M: Message + Default>(text: &str) -> io::Result<M> {
    let bytes = STANDARD.decode(text).map_err(io::Error::other)?;
    M::decode(bytes.as_slice()).map_err(io::Error::other)
}

/// Every label that is asked for is there.
pub(crate) fn matches(wanted: &HashMap<String, String>, labels: &HashMap<String, String>) -> bool {
    wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
}

/// An id, its beginning, or none in particular.
pub(crate) fn fits(wanted: &str, id: &str) -> bool {
    wanted.is_empty() || id.starts_with(wanted)
}

pub(crate) fn port_mapping(asked: &v1::PortMapping) -> Option<PortMapping> {
    let host_port = u16::try_from(asked.host_port).ok().filter(|port| *port > 0)?;
    Some(PortMapping {
        host_ip: asked.host_ip.parse().ok(),
        host_port,
        container_port: u16::try_from(asked.container_port).ok()?,
        protocol: match asked.protocol {
            1 => Protocol::Udp,
            2 => Protocol::Sctp,
            _ => Protocol::Tcp,
        },
    })
}

pub(crate) fn resolv_conf(dns: &v1::DnsConfig) -> String {
    let mut text = String::new();
    if !dns.searches.is_empty() {
        text.push_str(&format!("search {}\n", dns.searches.join(" ")));
    }
    dns.servers.iter().for_each(|server| text.push_str(&format!("nameserver {server}\n")));
    if !dns.options.is_empty() {
        text.push_str(&format!("options {}\n", dns.options.join(" ")));
    }
    text
}

/// Kernel parameters of every sandbox with a network of its own.
pub(crate) const SYSCTLS: [(&str, &str); 4] = [
    // Neighbours are reached through the gateway on purpose: see podnet.
    ("net.ipv4.conf.default.accept_redirects", "0"),
    ("net.ipv4.conf.all.accept_redirects", "0"),
    // Containers may listen on low ports and ping without privileges, as with every other engine.
    ("net.ipv4.ping_group_range", "0 2147483647"),
    ("net.ipv4.ip_unprivileged_port_start", "0"),
];

pub(crate) fn value(value: u64) -> Option<UInt64Value> {
    Some(UInt64Value { value })
}

pub(crate) fn cpu(stats: &Stats, timestamp: i64) -> v1::CpuUsage {
    v1::CpuUsage { timestamp, usage_core_nano_seconds: value(stats.cpu_nanoseconds), usage_nano_cores: None }
}

pub(crate) fn memory(stats: &Stats, timestamp: i64) -> v1::MemoryUsage {
    let available = stats.memory_limit.map(|limit| limit.saturating_sub(stats.memory_working_set));
    v1::MemoryUsage {
        timestamp,
        working_set_bytes: value(stats.memory_working_set),
        available_bytes: available.and_then(value),
        usage_bytes: value(stats.memory_usage),
        rss_bytes: value(stats.memory_rss),
        page_faults: value(stats.page_faults),
        major_page_faults: value(stats.major_page_faults),
    }
}

/// A connection to a port of `localhost`, inside a network namespace or, without one, here.
pub(crate) async fn connect(netns: Option<&Path>, port: u16) -> Result<Box<dyn Duplex>, CriError> {
    let connect = move || -> io::Result<TcpStream> {
        let patience = Duration::from_secs(10);
        let v4 = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), patience);
        let stream = v4.or_else(|refused| {
            let v6 = TcpStream::connect_timeout(&(Ipv6Addr::LOCALHOST, port).into(), patience);
            v6.map_err(|_| refused)
        })?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    };
    let netns = netns.map(Path::to_owned);
    let work = move || match netns {
        None => connect(),
        Some(netns) => sys::namespace::within_net(&netns, connect).map_err(|e| e.source),
    };
    let stream = tokio::task::spawn_blocking(work).await.map_err(internal)?;
    let stream = stream.map_err(|e| CriError::Unavailable(format!("failed to connect to localhost:{port}: {e}")))?;
    Ok(Box::new(tokio::net::TcpStream::from_std(stream).map_err(internal)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_settings_become_a_file() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let dns = v1::DnsConfig {
            servers: list(&["10.96.0.10"]),
            searches: list(&["a.svc", "svc"]),
            options: list(&["ndots:5"]),
        };
        assert_eq!(resolv_conf(&dns), "search a.svc svc\nnameserver 10.96.0.10\noptions ndots:5\n");
    }
}
