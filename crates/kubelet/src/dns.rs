//! The resolver configuration of a pod.

use cri::v1::DnsConfig;
use k8s_openapi::api::core::v1::Pod;

use crate::config::Config;
use crate::spec;

/// Parses a `resolv.conf`.
pub(crate) fn parse(text: &str) -> DnsConfig {
    let mut found = DnsConfig::default();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => found.servers.extend(words.next().map(str::to_owned)),
            Some("search") => found.searches = words.map(str::to_owned).filter(|word| word != ".").collect(),
            Some("options") => found.options.extend(words.map(str::to_owned)),
            _ => {}
        }
    }
    found
}

/// `host` is the node's own configuration.
pub(crate) fn config(pod: &Pod, config: &Config, host: &DnsConfig) -> DnsConfig {
    let spec = spec::pod_spec(pod);
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let host_network = spec::is_host_network(pod);
    let cluster = match policy {
        "None" => {
            let mut own = DnsConfig::default();
            merge(pod, &mut own);
            return own;
        }
        "Default" => false,
        "ClusterFirst" => !host_network,
        _ => true,
    };
    let mut dns = host.clone();
    if cluster && !config.cluster_dns.is_empty() {
        let domain = &config.cluster_domain;
        let namespace = spec::namespace(pod);
        dns.servers = config.cluster_dns.iter().map(ToString::to_string).collect();
        let own = [format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
        dns.searches = own.into_iter().chain(host.searches.iter().cloned()).collect();
        dns.options = vec!["ndots:5".to_owned()];
    }
    merge(pod, &mut dns);
    dns
}

fn merge(pod: &Pod, dns: &mut DnsConfig) {
    let Some(own) = &spec::pod_spec(pod).dns_config else { return };
    let add = |to: &mut Vec<String>, from: &Option<Vec<String>>| {
        for value in from.iter().flatten() {
            if !to.contains(value) {
                to.push(value.clone());
            }
        }
    };
    add(&mut dns.servers, &own.nameservers);
    add(&mut dns.searches, &own.searches);
    for option in own.options.iter().flatten() {
        let Some(name) = &option.name else { continue };
        dns.options.retain(|other| other != name && !other.starts_with(&format!("{name}:")));
        dns.options.push(match &option.value {
            Some(value) => format!("{name}:{value}"),
            None => name.clone(),
        });
    }
    // glibc reads three servers; upstream cuts the rest off, too.
    dns.servers.truncate(3);
    dns.searches.truncate(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: serde_json::Value, expected: &str) {
        let mut spec = spec;
        spec.as_object_mut().unwrap().insert("containers".into(), serde_json::json!([]));
        let pod: Pod =
            serde_json::from_value(serde_json::json!({"metadata": {"namespace": "ns"}, "spec": spec})).unwrap();
        let mut settings = Config::new("n", "/x");
        settings.cluster_dns = vec!["10.96.0.10".parse().unwrap()];
        let host = parse("nameserver 9.9.9.9\nsearch example.org . # x\noptions timeout:1\n");
        let dns = config(&pod, &settings, &host);
        let text = [dns.servers.join(","), dns.searches.join(","), dns.options.join(",")].join(" | ");
        assert_eq!(text, expected);
    }

    #[test]
    fn policies() {
        let cluster = "10.96.0.10 | ns.svc.cluster.local,svc.cluster.local,cluster.local,example.org | ndots:5";
        check(serde_json::json!({}), cluster);
        check(serde_json::json!({"dnsPolicy": "Default"}), "9.9.9.9 | example.org | timeout:1");
        check(serde_json::json!({"hostNetwork": true}), "9.9.9.9 | example.org | timeout:1");
        check(serde_json::json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}), cluster);
        let own = serde_json::json!({"nameservers": ["1.1.1.1"], "searches": ["a"], "options": [{"name": "ndots", "value": "2"}]});
        check(serde_json::json!({"dnsPolicy": "None", "dnsConfig": own}), "1.1.1.1 | a | ndots:2");
    }
}
