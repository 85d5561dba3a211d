//! From the command line to the configurations of the roles.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;

use apiserver::{Config, KeyPair};
use cluster::machines;
use cluster::node::{CONFIG_KEY, CONFIG_MAP, MASTER_KEY, NodeSettings, server_key};
use cluster::pki::{Leaf, Pair, Pki};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::Fleet;
use crate::cli::ServerArgs;
use crate::master::Master;
use crate::problem::{self, During, Problem};

/// The node's name: the host's, in lower case.
pub(crate) fn node_name(given: Option<&String>) -> Result<String, Problem> {
    let name = match given {
        Some(name) => name.clone(),
        None => nix::unistd::gethostname().during("cannot read the host's name")?.to_string_lossy().to_lowercase(),
    };
    api::names::dns_subdomain(&name)
        .map(|()| name.clone())
        .during(format!("'{name}' cannot be a node's name, give another with --hostname-override"))
}

/// The address that this machine would reach others from; loopback on a machine without a network.
pub(crate) fn advertise_address() -> Result<IpAddr, Problem> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).during("cannot look up this machine's address")?;
    // Nothing is sent: connecting a UDP socket only asks the routing table.
    let routed = socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).and_then(|()| socket.local_addr());
    Ok(routed.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |a| a.ip()))
}

/// What the node beside the control plane is told, and its address. On a network with other machines that is the one
/// that they see. A node that was there keeps its name, whatever number of others comes or goes.
pub(crate) fn server_node(
    args: &ServerArgs,
    fleet: Option<&Fleet>,
    kept: Option<&String>,
) -> Result<(NodeSettings, IpAddr), Problem> {
    let node = match (args.hostname_override.as_ref().or(kept), fleet) {
        (None, Some(_)) => machines::node_name(&args.name, 0),
        (given, _) => node_name(given)?,
    };
    let address = match (args.node_ip, fleet) {
        (Some(address), _) => address,
        (None, Some(fleet)) => fleet.gateway(),
        (None, None) => advertise_address()?,
    };
    let settings =
        NodeSettings { address: Some(address), kubelet_port: args.kubelet_port, node, ..common_settings(args) };
    Ok((settings, address))
}

/// What every node of the cluster is told.
pub(super) fn common_settings(args: &ServerArgs) -> NodeSettings {
    NodeSettings {
        gateway: args.gateway.ports(),
        cluster_cidr: args.cluster_cidr,
        service_cidr: args.service_cluster_ip_range,
        cluster_dns: args.cluster_dns,
        lease_duration_seconds: lease_duration(args.node_monitor_grace_period),
        ..NodeSettings::new(&args.name, "")
    }
}

/// Publishes that, for machines that join; and where several masters are, each says where it is.
pub(super) async fn publish_settings(
    args: &ServerArgs,
    master: Option<&Master>,
    client: kube::Client,
) -> Result<(), Problem> {
    let failed = "cannot publish what nodes are told";
    let settings = serde_json::to_string_pretty(&common_settings(args)).during(failed)?;
    let mut common = BTreeMap::from([(CONFIG_KEY.to_owned(), settings)]);
    let mut parts = Vec::new();
    if let Some(master) = master {
        common.insert(MASTER_KEY.to_owned(), serde_json::to_string(&master.flags).during(failed)?);
        let address = SocketAddr::new(master.address, args.api_port).to_string();
        parts.push((format!("oxikube-{}", master.name), BTreeMap::from([(server_key(&master.name), address)])));
    }
    parts.push(("oxikube".to_owned(), common));
    let api = Api::<ConfigMap>::namespaced(client, "kube-system");
    for (owner, data) in parts {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": CONFIG_MAP, "namespace": "kube-system"},
            "data": data,
        });
        let params = PatchParams::apply(&owner).force();
        api.patch(CONFIG_MAP, &params, &Patch::Apply(&map)).await.during(failed)?;
    }
    Ok(())
}

/// A lease ends before the node counts as silent, and is renewed several times in between. 40 seconds are upstream's.
fn lease_duration(grace: std::time::Duration) -> u32 {
    u32::try_from(grace.as_secs() * 4 / 5).unwrap_or(u32::MAX).clamp(1, 40)
}

/// The API server's serving certificate, and the one that it shows to kubelets.
pub(crate) fn api_certificates(
    pki: &Pki,
    node: &str,
    reached_at: &[IpAddr],
    services: IpNet,
) -> Result<(Pair, Pair), Problem> {
    let failed = "cannot make certificates";
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    addresses.extend(reached_at);
    addresses.extend(services.hosts().next());
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        node,
    ];
    let serving = Leaf {
        name: "kube-apiserver".into(),
        dns_names: names.map(str::to_owned).to_vec(),
        addresses,
        ..Leaf::default()
    };
    let client = Leaf::client("kube-apiserver-kubelet-client", &["system:masters"]);
    let serving = pki.leaf("apiserver", &serving).during(failed)?;
    Ok((serving, pki.leaf("apiserver-kubelet-client", &client).during(failed)?))
}

/// The kubelet's serving certificate, `pki/kubelet.crt`.
pub(crate) fn kubelet_certificate(pki: &Pki, node: &str, address: IpAddr) -> Result<Pair, Problem> {
    let leaf = cluster::node::serving(node, Some(address));
    pki.leaf("kubelet", &leaf).during("cannot make the kubelet's certificate")
}

/// The scheduler's configuration: upstream's defaults, or what a file says.
pub(crate) fn scheduler(file: Option<&Path>) -> Result<scheduler::Config, Problem> {
    let Some(path) = file else {
        return Ok(scheduler::Config::default());
    };
    let what = || format!("cannot use the configuration {}", path.display());
    let text = std::fs::read_to_string(path).map_err(|e| problem::file(path, &e))?;
    let tree: serde_json::Value = serde_saphyr::from_str(&text).during(what())?;
    Ok(scheduler::Config { profiles: scheduler::profiles(&tree).during(what())? })
}

/// The API server's configuration.
pub(super) fn api_server(args: &ServerArgs, pki: &Pki, node: &str, address: IpAddr) -> Result<Config, Problem> {
    let (serving, kubelet_client) = api_certificates(pki, node, &[address], args.service_cluster_ip_range)?;
    let (token_key, token_public_key) = pki.service_account_keys().during("cannot read keys")?;
    Ok(Config {
        listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, args.api_port)),
        advertise_address: address,
        advertise_port: args.api_port,
        serving: pair(serving),
        client_ca: pki.ca().to_owned(),
        kubelet_client: pair(kubelet_client),
        kubelet_ca: pki.ca().to_owned(),
        token_key,
        token_public_key,
        issuer: "https://kubernetes.default.svc.cluster.local".into(),
        service_cidr: args.service_cluster_ip_range,
        cluster_dns: Some(args.cluster_dns),
        node_ports: 30000..=32767,
        not_ready_toleration_seconds: args.default_not_ready_toleration_seconds,
        unreachable_toleration_seconds: args.default_unreachable_toleration_seconds,
        event_ttl_seconds: 3600,
        audit_log: args.audit_log_path.clone(),
        max_reads: 400,
        max_writes: 200,
        max_connections: 10_000,
    })
}

fn pair(pair: Pair) -> KeyPair {
    KeyPair { certificate: pair.certificate, key: pair.key }
}
