//! `oxikube certs`: the keys, certificates and kubeconfigs that roles need as processes of their own.

mod expiration;
mod renew;

use std::net::IpAddr;

use clap::{Args, Subcommand};
use cluster::pki::{Leaf, Pki};

use crate::cli::DataDir;
use crate::compose;
use crate::instance::Instance;
use crate::problem::{During, Problem};

/// Arguments of `certs`.
#[derive(Debug, Args)]
pub(crate) struct CertsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make what is missing below DIR/pki; what is there and sound stays
    #[command(
        after_help = "Example:\n  oxikube certs create --data-dir /etc/kubernetes --server https://10.0.0.1:6443"
    )]
    Create(CreateArgs),
    /// Show how long the certificates of this machine are good
    #[command(after_help = "Example:\n  oxikube certs check-expiration")]
    CheckExpiration(expiration::ExpirationArgs),
    /// Make certificates anew, those in kubeconfigs, too
    #[command(after_help = "Example:\n  oxikube certs renew\n  oxikube certs renew apiserver etcd/server")]
    Renew(renew::RenewArgs),
}

#[derive(Debug, Args)]
struct CreateArgs {
    #[command(flatten)]
    data: DataDir,
    /// Where the API server is reached
    #[arg(long, default_value = "https://127.0.0.1:6443", value_name = "URL")]
    server: String,
    /// Name of the node [default: the host's]
    #[arg(long, value_name = "NAME")]
    hostname_override: Option<String>,
    /// Addresses of the API servers, and of etcd beside them, the node's own first [default: the one this machine reaches others from]
    #[arg(long, value_delimiter = ',', value_name = "IP,…")]
    address: Vec<IpAddr>,
    /// Address range of services
    #[arg(long, default_value = "10.96.0.0/16", value_name = "CIDR")]
    service_cluster_ip_range: ipnet::IpNet,
}

pub(crate) fn run(args: CertsArgs) -> Result<(), Problem> {
    match args.action {
        Action::Create(args) => create(&args),
        Action::CheckExpiration(args) => expiration::run(&args),
        Action::Renew(args) => renew::run(&args),
    }
}

fn create(args: &CreateArgs) -> Result<(), Problem> {
    let instance = Instance::new(&args.data.data_dir);
    drop(instance.own()?);
    let node = compose::node_name(args.hostname_override.as_ref())?;
    let mut addresses = args.address.clone();
    let address = match addresses.first() {
        Some(address) => *address,
        None => compose::advertise_address()?,
    };
    if addresses.is_empty() {
        addresses.push(address);
    }
    let failed = "cannot make keys and certificates";
    let pki = Pki::open(&instance.path("pki")).during(failed)?;
    compose::api_certificates(&pki, &node, &addresses, args.service_cluster_ip_range)?;
    compose::kubelet_certificate(&pki, &node, address)?;
    cluster::etcd::furnish(&instance.path("pki"), &addresses).during(failed)?;
    let node_user = format!("system:node:{node}");
    let users: [(&str, &str, &[&str]); 6] = [
        ("admin", "kubernetes-admin", &["kubeadm:cluster-admins"]),
        ("controller-manager", "system:kube-controller-manager", &[]),
        ("scheduler", "system:kube-scheduler", &[]),
        ("proxy", "system:kube-proxy", &[]),
        ("dns", "system:serviceaccount:kube-system:kube-dns", &[]),
        ("node", &node_user, &["system:nodes"]),
    ];
    for (name, user, groups) in users {
        let pair = pki.leaf(name, &Leaf::client(user, groups)).during(failed)?;
        let text = cluster::kubeconfig::render(&args.server, pki.ca(), "oxikube", user, &pair);
        let path = instance.path(&format!("{name}.kubeconfig"));
        cluster::kubeconfig::save(&path, &text).during(failed)?;
        println!("{}", path.display());
    }
    Ok(())
}
