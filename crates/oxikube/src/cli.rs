//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::commands::{self, roles};
use crate::compose::{self, Endpoint};
use crate::gateway::GatewayArgs;
use crate::logging::LogArgs;
use crate::plain;
use crate::problem::{During, Problem};
use crate::store::EtcdArgs;

/// Kubernetes in one binary.
#[derive(Debug, Parser)]
#[command(
    name = "oxikube",
    version,
    about = "Kubernetes in one binary",
    after_help = "Example:\n  oxikube up -f examples/nginx.yaml\n  export KUBECONFIG=/var/lib/oxikube/admin.kubeconfig\n  kubectl get pods"
)]
struct Cli {
    /// Run in this network namespace, as on the machine of that network
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    netns: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a cluster in the background, wait until it is ready, and apply manifests
    #[command(after_help = "Example:\n  oxikube up -f examples/nginx.yaml --timeout 60s")]
    Up(commands::up::UpArgs),
    /// Stop the cluster and its containers
    #[command(after_help = "Example:\n  oxikube down --purge")]
    Down(commands::down::DownArgs),
    /// Show what runs and how it is
    #[command(after_help = "Example:\n  oxikube status -o json")]
    Status(commands::status::StatusArgs),
    /// Say why something is not as it should be, and what to do
    #[command(after_help = "Example:\n  oxikube why pod/web\n  oxikube why deployment/web -n shop -o json")]
    Why(commands::why::WhyArgs),
    /// Run the cluster in the foreground
    #[command(after_help = "Example:\n  oxikube server --data-dir /var/lib/oxikube")]
    Server(ServerArgs),
    /// Run a node: kubelet, container engine, service proxy, resolver and gateway
    #[command(after_help = "Example:\n  oxikube node --data-dir /var/lib/oxikube")]
    Node(commands::node::NodeArgs),
    /// Run the API server alone
    #[command(
        after_help = "Example:\n  oxikube apiserver --tls-cert-file pki/apiserver.crt --tls-private-key-file pki/apiserver.key ..."
    )]
    Apiserver(Box<roles::apiserver::ApiServerArgs>),
    /// Run the controllers alone
    #[command(
        after_help = "Example:\n  oxikube controller-manager --kubeconfig controller-manager.kubeconfig --root-ca-file pki/ca.crt"
    )]
    ControllerManager(roles::controller_manager::ControllerManagerArgs),
    /// Run the scheduler alone
    #[command(after_help = "Example:\n  oxikube scheduler --kubeconfig scheduler.kubeconfig")]
    Scheduler(roles::scheduler::SchedulerArgs),
    /// Run a node's kubelet and container engine
    #[command(
        after_help = "Example:\n  oxikube kubelet --kubeconfig node.kubeconfig --tls-cert-file pki/kubelet.crt ..."
    )]
    Kubelet(Box<roles::kubelet::KubeletArgs>),
    /// Run a node's service proxy
    #[command(after_help = "Example:\n  oxikube proxy --kubeconfig proxy.kubeconfig")]
    Proxy(roles::proxy::ProxyArgs),
    /// Run a node's gateway, which serves Ingresses
    #[command(after_help = "Example:\n  oxikube gateway --kubeconfig node.kubeconfig")]
    Gateway(roles::gateway::GatewayRoleArgs),
    /// Run a node's resolver
    #[command(after_help = "Example:\n  oxikube dns --kubeconfig dns.kubeconfig")]
    Dns(roles::dns::DnsArgs),
    /// Offer the native container engine to others, as CRI on a socket
    #[command(after_help = "Example:\n  oxikube cri --listen unix:///run/oxikube/cri.sock --pod-cidr 10.244.0.0/24")]
    Cri(commands::cri::CriArgs),
    /// Pass connections on to those of several API servers that are alive
    #[command(
        after_help = "Example:\n  oxikube balancer --listen 127.0.0.1:7443 --servers 10.0.0.1:6443,10.0.0.2:6443"
    )]
    Balancer(roles::balancer::BalancerArgs),
    /// Make, look at and renew keys, certificates and kubeconfigs
    #[command(
        after_help = "Example:\n  oxikube certs create --server https://10.0.0.1:6443\n  oxikube certs check-expiration"
    )]
    Certs(commands::certs::CertsArgs),
    /// Make this machine the first of a cluster that others join
    #[command(after_help = "Example:\n  oxikube init")]
    Init(Box<commands::init::InitArgs>),
    /// Make this machine a node of a cluster
    #[command(
        after_help = "Example:\n  oxikube join 192.0.2.1:6443 --token abcdef.0123456789abcdef --discovery-token-ca-cert-hash sha256:..."
    )]
    Join(commands::join::JoinArgs),
    /// Take this machine out of its cluster; nothing is left behind
    #[command(after_help = "Example:\n  oxikube reset")]
    Reset(commands::reset::ResetArgs),
    /// Make, list and delete the tokens by which machines ask for a node's certificate
    #[command(after_help = "Example:\n  oxikube token create --ttl 1h\n  oxikube token list")]
    Token(commands::token::TokenArgs),
    /// Import, pull, list and remove images
    #[command(after_help = "Example:\n  oxikube image import nginx.tar\n  oxikube image list")]
    Image(commands::image::ImageArgs),
    /// Save the whole state to a file, or restore it
    #[command(
        after_help = "Example:\n  oxikube snapshot save cluster.snapshot\n  oxikube snapshot restore cluster.snapshot --etcd-servers http://10.0.0.1:2379"
    )]
    Snapshot(commands::snapshot::SnapshotArgs),
    /// Print the administrator's kubeconfig
    #[command(after_help = "Example:\n  oxikube kubeconfig > ~/.kube/config")]
    Kubeconfig(DataDir),
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Man(commands::man::ManArgs),
}

/// Which instance is meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct DataDir {
    /// Where everything is kept
    #[arg(long, env = "OXIKUBE_DATA_DIR", default_value = "/var/lib/oxikube", value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
}

/// Settings of the all-in-one server.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    pub(crate) data: DataDir,
    /// Port of the API
    #[arg(long, default_value_t = 6443, value_name = "PORT")]
    pub(crate) api_port: u16,
    /// Name of the instance, which its bridge, cgroups and nftables table carry
    #[arg(long, env = "OXIKUBE_NAME", default_value = "oxikube")]
    pub(crate) name: String,
    /// Machines, this one counted; the others are network namespaces on it [default: as before, 1 at first]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) nodes: Option<u32>,
    /// Masters, each on a machine of its own with a member of etcd: 1, 3 or 5 [default: as before, 1 at first]
    #[arg(long, value_name = "N", value_parser = compose::control_planes, conflicts_with_all = ["etcd_servers", "hostname_override", "node_ip"])]
    pub(crate) control_planes: Option<u32>,
    /// Run no node beside the control plane
    #[arg(long, conflicts_with_all = ["nodes", "control_planes"])]
    pub(crate) without_node: bool,
    /// Address range of the machines of --nodes
    #[arg(long, default_value = "10.245.0.0/24", value_name = "CIDR", value_parser = compose::node_network)]
    pub(crate) node_network: ipnet::Ipv4Net,
    /// Name of the node [default: the host's; NAME-0 with --nodes]
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname_override: Option<String>,
    /// Address of the node [default: the one this machine reaches others from]
    #[arg(long, value_name = "IP")]
    pub(crate) node_ip: Option<std::net::IpAddr>,
    /// Address range of pods
    #[arg(long, default_value = "10.244.0.0/16", value_name = "CIDR")]
    pub(crate) cluster_cidr: ipnet::IpNet,
    /// Address range of services
    #[arg(long, default_value = "10.96.0.0/16", value_name = "CIDR")]
    pub(crate) service_cluster_ip_range: ipnet::IpNet,
    /// Address of the cluster's DNS
    #[arg(long, default_value = "10.96.0.10", value_name = "IP")]
    pub(crate) cluster_dns: std::net::IpAddr,
    /// Port of the kubelet
    #[arg(long, default_value_t = 10250, value_name = "PORT")]
    pub(crate) kubelet_port: u16,
    /// How long a node may be silent before it counts as not ready
    #[arg(long, default_value = "50s", value_parser = duration, value_name = "DURATION")]
    pub(crate) node_monitor_grace_period: Duration,
    /// Seconds that pods stay on a node that is not ready, unless they say otherwise
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) default_not_ready_toleration_seconds: i64,
    /// Seconds that pods stay on a node that is not reachable, unless they say otherwise
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) default_unreachable_toleration_seconds: i64,
    /// How long certificates are good that are signed for nodes and others
    #[arg(long, default_value = "8760h", value_parser = duration, value_name = "DURATION")]
    pub(crate) cluster_signing_duration: Duration,
    /// Write an audit log, one JSON line a request
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_log_path: Option<PathBuf>,
    /// KubeSchedulerConfiguration with the scheduler's profiles
    #[arg(long, value_name = "FILE")]
    pub(crate) scheduler_config: Option<PathBuf>,
    /// Container engine: native, unix://SOCKET of one that speaks CRI, or docker://SOCKET
    #[arg(long, default_value_t, value_name = "ENDPOINT")]
    pub(crate) container_runtime_endpoint: Endpoint,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
    #[command(flatten)]
    pub(crate) etcd: EtcdArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

impl ServerArgs {
    /// The same flags again.
    pub(crate) fn to_arguments(&self) -> Vec<String> {
        let mut list = vec![
            format!("--data-dir={}", self.data.data_dir.display()),
            format!("--api-port={}", self.api_port),
            format!("--name={}", self.name),
            format!("--cluster-cidr={}", self.cluster_cidr),
            format!("--service-cluster-ip-range={}", self.service_cluster_ip_range),
            format!("--cluster-dns={}", self.cluster_dns),
            format!("--kubelet-port={}", self.kubelet_port),
            format!("--logging-format={}", self.log.logging_format),
            format!("--v={}", self.log.verbosity),
        ];
        list.push(format!("--node-monitor-grace-period={}ms", self.node_monitor_grace_period.as_millis()));
        list.push(format!("--default-not-ready-toleration-seconds={}", self.default_not_ready_toleration_seconds));
        list.push(format!("--default-unreachable-toleration-seconds={}", self.default_unreachable_toleration_seconds));
        list.push(format!("--cluster-signing-duration={}ms", self.cluster_signing_duration.as_millis()));
        list.push(format!("--node-network={}", self.node_network));
        list.extend(self.without_node.then(|| "--without-node".to_owned()));
        list.extend(self.control_planes.map(|n| format!("--control-planes={n}")));
        list.extend(self.nodes.map(|n| format!("--nodes={n}")));
        list.extend(self.node_ip.map(|ip| format!("--node-ip={ip}")));
        list.extend(self.audit_log_path.as_ref().map(|p| format!("--audit-log-path={}", p.display())));
        list.extend(self.scheduler_config.as_ref().map(|p| format!("--scheduler-config={}", p.display())));
        list.push(format!("--container-runtime-endpoint={}", self.container_runtime_endpoint));
        list.extend(self.gateway.to_arguments());
        list.extend(self.etcd.to_arguments());
        list.extend(self.hostname_override.as_ref().map(|n| format!("--hostname-override={n}")));
        list
    }
}

/// Reads a duration such as `120s`, `2m` or `500ms`; a plain number means seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| format!("'{text}' is no duration; try 120s"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" | "" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        "h" => Ok(Duration::from_secs(number.saturating_mul(3600))),
        _ => Err(format!("'{text}' is no duration; try 120s")),
    }
}

/// Reads the command line and does what it says.
pub(crate) fn run() -> Result<(), Problem> {
    let cli = Cli::parse_from(plain::arguments(std::env::args_os()));
    if let Some(netns) = &cli.netns {
        // There is no other thread yet.
        sys::namespace::enter_net(netns).during("cannot run on that machine")?;
    }
    match cli.command {
        Command::Up(args) => runtime()?.block_on(commands::up::run(args)),
        Command::Init(args) => runtime()?.block_on(commands::init::run(*args)),
        Command::Join(args) => runtime()?.block_on(commands::join::run(args)),
        Command::Reset(args) => runtime()?.block_on(commands::reset::run(args)),
        Command::Down(args) => runtime()?.block_on(commands::down::run(&args)),
        Command::Image(args) => runtime()?.block_on(commands::image::run(args)),
        Command::Status(args) => runtime()?.block_on(commands::status::run(&args)),
        Command::Why(args) => runtime()?.block_on(commands::why::run(&args)),
        Command::Snapshot(args) => runtime()?.block_on(commands::snapshot::run(args)),
        Command::Server(args) => commands::server::run(args),
        Command::Node(args) => roles::run(&args.log.clone(), |stop| commands::node::run(args, stop)),
        Command::Apiserver(args) => roles::run(&args.log.clone(), |stop| roles::apiserver::run(*args, stop)),
        Command::ControllerManager(args) => {
            roles::run(&args.log.clone(), |stop| roles::controller_manager::run(args, stop))
        }
        Command::Scheduler(args) => roles::run(&args.log.clone(), |stop| roles::scheduler::run(args, stop)),
        Command::Kubelet(args) => roles::run(&args.log.clone(), |stop| roles::kubelet::run(*args, stop)),
        Command::Proxy(args) => roles::run(&args.log.clone(), |stop| roles::proxy::run(args, stop)),
        Command::Gateway(args) => roles::run(&args.log.clone(), |stop| roles::gateway::run(args, stop)),
        Command::Dns(args) => roles::run(&args.log.clone(), |stop| roles::dns::run(args, stop)),
        Command::Cri(args) => roles::run(&args.log.clone(), |stop| commands::cri::run(args, stop)),
        Command::Balancer(args) => roles::run(&args.log.clone(), |stop| roles::balancer::run(args, stop)),
        Command::Certs(args) => commands::certs::run(args),
        Command::Token(args) => runtime()?.block_on(commands::token::run(args)),
        Command::Kubeconfig(data) => commands::kubeconfig::run(&data),
        Command::Man(args) => commands::man::run::<Cli>(&args),
    }
}

/// The runtime of a short command.
fn runtime() -> Result<tokio::runtime::Runtime, Problem> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().during("cannot start")
}

/// Whether a command line is understood.
#[cfg(test)]
pub(crate) fn check(arguments: Vec<std::ffi::OsString>) -> Result<(), String> {
    Cli::try_parse_from(arguments).map(drop).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_manual_page() {
        use clap::CommandFactory;
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_str().unwrap().to_owned();
        let Command::Man(args) = Cli::parse_from(["oxikube", "man", &dir]).command else { panic!("another command") };
        commands::man::run::<Cli>(&args).unwrap();
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            assert!(folder.path().join(format!("oxikube-{}.1", command.get_name())).exists(), "{command}");
        }
        assert!(!folder.path().join("oxikube-man.1").exists());
    }

    #[test]
    fn durations() {
        assert_eq!(duration("120s"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("soon").is_err() && duration("").is_err());
    }
}
