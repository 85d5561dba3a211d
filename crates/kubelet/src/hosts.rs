//! `/etc/hosts` of a pod.

use k8s_openapi::api::core::v1::Pod;

use crate::config::Config;
use crate::{sandbox, spec};

/// `node` is the node's own file, for pods in its network.
pub(crate) fn content(pod: &Pod, config: &Config, ips: &[String], node: &str) -> String {
    let mut text = if spec::is_host_network(pod) {
        format!("# Kubernetes-managed hosts file (host network).\n{node}")
    } else {
        let mut text = String::from(
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost \
             ip6-loopback\nfe00::\tip6-localnet\nfe00::\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
        );
        let host = sandbox::hostname(pod, config);
        for ip in ips {
            match sandbox::domain(pod, config) {
                Some(domain) if !host.contains('.') => text.push_str(&format!("{ip}\t{host}.{domain}\t{host}\n")),
                _ => text.push_str(&format!("{ip}\t{host}\n")),
            }
        }
        text
    };
    let aliases = spec::pod_spec(pod).host_aliases.as_ref().filter(|aliases| !aliases.is_empty());
    if let Some(aliases) = aliases {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let names = alias.hostnames.clone().unwrap_or_default().join("\t");
            text.push_str(&format!("{}\t{names}\n", alias.ip));
        }
    }
    text
}
