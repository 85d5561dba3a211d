//! `oxikube apiserver`

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use apiserver::{ApiServer, Config, KeyPair};
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::read;
use crate::cli::{DataDir, duration};
use crate::compose;
use crate::logging::LogArgs;
use crate::notify;
use crate::problem::{During, Problem};
use crate::store::{self, EtcdArgs};

/// Flags of kube-apiserver that mean something here.
#[derive(Debug, Args)]
pub(crate) struct ApiServerArgs {
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    /// Address to listen on
    #[arg(long, default_value = "0.0.0.0", value_name = "IP")]
    bind_address: IpAddr,
    /// Port to listen on
    #[arg(long, default_value_t = 6443, value_name = "PORT")]
    secure_port: u16,
    /// Address that the Service 'kubernetes' leads to [default: the one this machine reaches others from]
    #[arg(long, value_name = "IP")]
    advertise_address: Option<IpAddr>,
    /// Serving certificate
    #[arg(long, value_name = "FILE")]
    tls_cert_file: PathBuf,
    /// Key of the serving certificate
    #[arg(long, value_name = "FILE")]
    tls_private_key_file: PathBuf,
    /// CA of client certificates
    #[arg(long, value_name = "FILE")]
    client_ca_file: PathBuf,
    /// Certificate shown to kubelets
    #[arg(long, value_name = "FILE")]
    kubelet_client_certificate: PathBuf,
    /// Key of that certificate
    #[arg(long, value_name = "FILE")]
    kubelet_client_key: PathBuf,
    /// CA of the kubelets' certificates
    #[arg(long, value_name = "FILE")]
    kubelet_certificate_authority: PathBuf,
    /// Public key of service-account tokens
    #[arg(long, value_name = "FILE")]
    service_account_key_file: PathBuf,
    /// Private key of service-account tokens
    #[arg(long, value_name = "FILE")]
    service_account_signing_key_file: PathBuf,
    /// Issuer of service-account tokens
    #[arg(long, default_value = "https://kubernetes.default.svc.cluster.local", value_name = "URL")]
    service_account_issuer: String,
    /// Address range of services
    #[arg(long, default_value = "10.96.0.0/16", value_name = "CIDR")]
    service_cluster_ip_range: ipnet::IpNet,
    /// Address of the cluster's DNS
    #[arg(long, default_value = "10.96.0.10", value_name = "IP")]
    cluster_dns: IpAddr,
    /// Ports of NodePort services
    #[arg(long, default_value = "30000-32767", value_parser = port_range, value_name = "FROM-TO")]
    service_node_port_range: (u16, u16),
    /// Seconds that pods stay on a node that is not ready, unless they say otherwise
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(0..))]
    default_not_ready_toleration_seconds: i64,
    /// Seconds that pods stay on a node that is not reachable, unless they say otherwise
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(0..))]
    default_unreachable_toleration_seconds: i64,
    /// How long Events are kept
    #[arg(long, default_value = "1h", value_parser = duration)]
    event_ttl: std::time::Duration,
    /// Write an audit log, one JSON line a request
    #[arg(long, value_name = "FILE")]
    audit_log_path: Option<PathBuf>,
    /// Reading requests in flight
    #[arg(long, default_value_t = 400)]
    max_requests_inflight: usize,
    /// Changing requests in flight
    #[arg(long, default_value_t = 200)]
    max_mutating_requests_inflight: usize,
    /// Authorizers; only Node,RBAC is there
    #[arg(long, default_value = "Node,RBAC", value_parser = ["Node,RBAC", "RBAC,Node"])]
    authorization_mode: String,
    #[command(flatten)]
    etcd: EtcdArgs,
}

fn port_range(text: &str) -> Result<(u16, u16), String> {
    let range = text.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    range
        .filter(|(from, to)| from <= to && *from > 0)
        .ok_or_else(|| format!("'{text}' is no range of ports; try 30000-32767"))
}

pub(crate) async fn run(args: ApiServerArgs, shutdown: CancellationToken) -> Result<(), Problem> {
    let address = match args.advertise_address {
        Some(address) => address,
        None => compose::advertise_address()?,
    };
    let listen = SocketAddr::new(args.bind_address, args.secure_port);
    let config = config(&args, listen, address)?;
    let ownership = crate::instance::Instance::new(&args.data.data_dir).own()?;
    let listener = compose::bind(listen, "--secure-port").await?;
    let store = store::open(&args.etcd, &args.data.data_dir.join("store"), &config.client_ca).await?;
    let api = ApiServer::build(config, store).during("cannot build the API server")?;
    api.bootstrap().await.during("cannot make the first objects")?;
    // Who comes now waits at the listener for a moment at most.
    notify::ready();
    api.run(listener, shutdown).await.during("the API server failed")?;
    ownership.release()
}

fn config(args: &ApiServerArgs, listen: SocketAddr, address: IpAddr) -> Result<Config, Problem> {
    let (first, last) = args.service_node_port_range;
    Ok(Config {
        listen,
        advertise_address: address,
        advertise_port: args.secure_port,
        serving: KeyPair { certificate: read(&args.tls_cert_file)?, key: read(&args.tls_private_key_file)? },
        client_ca: read(&args.client_ca_file)?,
        kubelet_client: KeyPair {
            certificate: read(&args.kubelet_client_certificate)?,
            key: read(&args.kubelet_client_key)?,
        },
        kubelet_ca: read(&args.kubelet_certificate_authority)?,
        token_key: read(&args.service_account_signing_key_file)?,
        token_public_key: read(&args.service_account_key_file)?,
        issuer: args.service_account_issuer.clone(),
        service_cidr: args.service_cluster_ip_range,
        cluster_dns: Some(args.cluster_dns),
        node_ports: first..=last,
        not_ready_toleration_seconds: args.default_not_ready_toleration_seconds,
        unreachable_toleration_seconds: args.default_unreachable_toleration_seconds,
        event_ttl_seconds: args.event_ttl.as_secs(),
        audit_log: args.audit_log_path.clone(),
        max_reads: args.max_requests_inflight,
        max_writes: args.max_mutating_requests_inflight,
        max_connections: 10_000,
    })
}
